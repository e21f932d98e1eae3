package compute

// Value names one tensor of the program under construction: an input, a parameter or the result of an op.
// The zero Value stands for "none" wherever an operand is optional.
type Value struct{ id int32 }

// Valid reports whether v names a tensor.
func (v Value) Valid() bool { return v.id > 0 }

// Index is the position of v in Program.Values. It is meaningless for an invalid value.
func (v Value) Index() int { return int(v.id) - 1 }

// Kind tells where a value comes from.
type Kind uint8

// The origins of a value.
const (
	InputKind  Kind = iota + 1 // uploaded before each run
	ParamKind                  // loaded once from a ParamSource
	ResultKind                 // produced by an op
)

// ValueInfo is what a program knows of a value.
type ValueInfo struct {
	Type          // for a parameter the element type is InvalidDType: the checkpoint decides it
	Kind   Kind   //
	Name   string // input or parameter name; empty for results
	Node   int    // index of the producing node; -1 for inputs and parameters
	Output bool   // the value is downloaded after each run
}
