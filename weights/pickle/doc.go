// Package pickle reads what torch.save wrote (.ckpt, .pt, .pth, .bin) and can run nothing: it carries out the opcodes that build
// dictionaries, lists, numbers and tensors, knows the names by which PyTorch rebuilds tensors, and calls none. A file that asks
// for any other name is refused by it (RefusedError).
//
//	value, err := pickle.Read(file, size)
//	if err != nil { … }
//	state, _ := value.(*pickle.Dict)
//	weight, _ := state.Get("conv_in.weight").(*pickle.Tensor)
//
// Both containers are read, the ZIP archives of PyTorch 1.6 and later and the streams before them, with pickles of protocols 2
// to 5. Tensors stay in the file until they are read.
//
// What a file can make its reader hold is bounded: the pickle itself by its bytes and opcodes, a tensor by the bytes of its
// storage in the file.
//
// The formats: https://docs.python.org/3/library/pickletools.html and https://pytorch.org/docs/stable/notes/serialization.html.
package pickle
