package pickle

import (
	"fmt"
	"slices"
	"strings"
)

// RefusedError says that a pickle asks for a name that tensors and the usual companions of a training do not need. Python would
// have run what the name stands for; here nothing of the file ran.
type RefusedError struct{ Name string }

// Error names what was asked for and what to do.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("refused: it asks for %.200q, which no model needs and which could run a program in Python; nothing of it was run. "+
		"Take another copy of the model, a .safetensors file where there is one", e.Name)
}

// storages are the classes of stored arrays with their element types, spelled as safetensors spells them.
var storages = map[Name]string{
	"torch.DoubleStorage": "F64", "torch.FloatStorage": "F32", "torch.HalfStorage": "F16", "torch.BFloat16Storage": "BF16",
	"torch.LongStorage": "I64", "torch.IntStorage": "I32", "torch.ShortStorage": "I16", "torch.CharStorage": "I8",
	"torch.ByteStorage": "U8", "torch.BoolStorage": "BOOL", "torch.storage.UntypedStorage": "U8", "torch.UntypedStorage": "U8",
}

// dtypes are the element types by PyTorch's names.
var dtypes = map[Name]string{
	"torch.float64": "F64", "torch.float32": "F32", "torch.float16": "F16", "torch.bfloat16": "BF16",
	"torch.float8_e4m3fn": "F8_E4M3", "torch.float8_e5m2": "F8_E5M2",
	"torch.int64": "I64", "torch.int32": "I32", "torch.int16": "I16", "torch.int8": "I8",
	"torch.uint64": "U64", "torch.uint32": "U32", "torch.uint16": "U16", "torch.uint8": "U8", "torch.bool": "BOOL",
}

// dtypeSize is the number of bytes of an element.
var dtypeSize = map[string]int64{
	"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1,
	"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}

// inert are names that stand in files beside tensors. Asking for them is no reason to refuse; they become Objects.
var inert = []Name{
	"torch.Size", "torch.device", "torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer",
	"torch.nn.modules.container.ParameterDict", "torch.nn.modules.container.ParameterList", "torch.serialization._get_layout",
	"collections.Counter", "collections.defaultdict", "collections.deque",
	"_codecs.encode", "argparse.Namespace", "datetime.datetime", "datetime.timedelta",
	"pathlib.Path", "pathlib.PosixPath", "pathlib.WindowsPath", "pathlib.PurePosixPath", "pathlib.PureWindowsPath",
	"pathlib._local.PosixPath", "pathlib._local.WindowsPath",
	"numpy.dtype", "numpy.ndarray", "numpy.core.multiarray.scalar", "numpy.core.multiarray._reconstruct",
	"numpy._core.multiarray.scalar", "numpy._core.multiarray._reconstruct",
}

// builtins are Python's plain types, of the module that was called __builtin__ once.
var builtins = []string{"set", "frozenset", "bytearray", "complex", "slice", "range", "int", "long", "float", "bool", "str", "unicode", "bytes", "list", "dict", "tuple", "object"}

// trainers are packages whose settings and callbacks whole trainings leave in their checkpoints.
var trainers = []string{"pytorch_lightning.", "lightning.pytorch.", "lightning.fabric.", "lightning_fabric.", "omegaconf."}

// known is the name of module's member, unless it is one to refuse.
func known(module, member string) (Name, error) {
	name := Name(module + "." + member)
	_, storage := storages[name]
	_, dtype := dtypes[name]
	_, function := functions[name]
	builtin := (module == "builtins" || module == "__builtin__") && slices.Contains(builtins, member)
	trainer := slices.ContainsFunc(trainers, func(p string) bool { return strings.HasPrefix(string(name), p) })
	if storage || dtype || function || builtin || trainer || slices.Contains(inert, name) {
		return name, nil
	}
	return "", &RefusedError{string(name)}
}

// functions are the names that mean something to tensors, each with what becomes of its arguments.
var functions map[Name]func(args Tuple) (any, error)

func init() { // one of the functions looks others up
	functions = map[Name]func(args Tuple) (any, error){
		"collections.OrderedDict":                    orderedDict,
		"torch._utils._rebuild_tensor":               rebuildTensor,
		"torch._utils._rebuild_tensor_v2":            rebuildTensor,
		"torch._utils._rebuild_tensor_v3":            rebuildTyped,
		"torch._utils._rebuild_parameter":            first,
		"torch._utils._rebuild_parameter_with_state": first,
		"torch._tensor._rebuild_from_type_v2":        rebuildSubclass,
	}
}

// call is what a function makes of its arguments, or an object that says what was to be made.
func call(name Name, args Tuple) (any, error) {
	if f, ok := functions[name]; ok {
		return f(args)
	}
	return &Object{Class: name, Args: args}, nil
}

// orderedDict makes a dictionary, of the pairs that old Pythons wrote.
func orderedDict(args Tuple) (any, error) {
	d := new(Dict)
	if len(args) == 0 {
		return d, nil
	}
	pairs, ok := args[0].(*List)
	if !ok {
		return nil, malformed("an OrderedDict of %T", args[0])
	}
	for _, item := range pairs.Items {
		pair := items(item)
		if len(pair) != 2 {
			return nil, malformed("an OrderedDict of no pairs")
		}
		d.Keys, d.Values = append(d.Keys, pair[0]), append(d.Values, pair[1])
	}
	return d, nil
}

// items are the members of a tuple or list.
func items(v any) []any {
	switch v := v.(type) {
	case Tuple:
		return v
	case *List:
		return v.Items
	}
	return nil
}

// first is the tensor that a parameter is of.
func first(args Tuple) (any, error) {
	if len(args) == 0 {
		return nil, malformed("a parameter without a tensor")
	}
	return args[0], nil
}

// rebuildSubclass is given the function for the plain tensor, the class, the function's arguments, and the object's state.
func rebuildSubclass(args Tuple) (any, error) {
	if len(args) < 3 {
		return nil, malformed("a tensor's class with %d arguments", len(args))
	}
	name, _ := args[0].(Name)
	plain, _ := args[2].(Tuple)
	if name == "torch._tensor._rebuild_from_type_v2" {
		return nil, malformed("a tensor's class in a tensor's class")
	}
	return call(name, plain)
}
