// Package weights reads and writes Stable Diffusion 1.x parameters: safetensors files and PyTorch's, diffusers
// folders and single-file (LDM) checkpoints, all handed out under diffusers' parameter names.
//
//	ckpt, err := weights.Open("v1-5-pruned-emaonly.safetensors", weights.Options{})
//	if err != nil { … }
//	defer ckpt.Close()
//	unet, err := ckpt.UNet() // a compute.ParamSource
//
// A file costs nothing but its header until tensors are read, each when a device packs it; that it was written to in the
// meantime is an error then (ChangedError). Everything in a file is taken for hostile: the header is checked to the letter of the
// format before anything else looks at it, and a file of another model family (SDXL, SD 2.x, LoRA, …)
// is refused by name, with what to do instead.
//
// The package knows names and bytes. It builds no network and computes nothing. Files of PyTorch (.ckpt, .pt, .pth, .bin) are
// read by the sub-package pickle, which runs nothing in them. Downloading is the business of the sub-package hub.
//
// The safetensors format: https://github.com/huggingface/safetensors#format.
package weights
