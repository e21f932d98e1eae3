package compute

import (
	"errors"
	"fmt"
	"strings"
)

// Builder records a program. Model code reads like a formula: mistakes neither return nor panic, the Builder keeps
// the first one with its scope path, records nothing further, and Build returns it.
// A Builder is used by one goroutine. The zero Builder is ready to use.
type Builder struct {
	program Program
	scopes  []string
	params  map[string]Value
	err     error

	segment, segments int // the open checkpoint segment, 0 for none; how many were opened
}

// Scope opens a named scope: ops recorded until the returned function is called carry it in their path.
//
//	defer b.Scope("down_blocks.0")()
func (b *Builder) Scope(name string) (end func()) {
	b.scopes = append(b.scopes, name)
	depth := len(b.scopes)
	return func() { b.scopes = b.scopes[:depth-1] }
}

// Segment opens a checkpoint segment: of the ops recorded until the returned function is called, [CheckpointedGradient]
// keeps only the results that ops outside read. A segment within another is part of it. Nothing else takes notice.
//
//	defer b.Segment()()
func (b *Builder) Segment() (end func()) {
	if b.segment != 0 {
		return func() {}
	}
	b.segments++
	b.segment = b.segments
	return func() { b.segment = 0 }
}

// Fail records err, unless an error is already kept. Model code uses it for conditions that are no shape rule.
func (b *Builder) Fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// Err is the error kept so far.
func (b *Builder) Err() error { return b.err }

// Input declares a value that is uploaded before each run. Runs take inputs in the order of declaration.
func (b *Builder) Input(name string, t DType, shape ...int) Value {
	typ := Type{t, append(Shape(nil), shape...)}
	if b.err == nil && typ.Bytes() <= 0 {
		b.fail("Input", fmt.Sprintf("%q is %v, want positive extents", name, typ))
	}
	if b.err != nil {
		return Value{}
	}
	v := b.value(ValueInfo{Type: typ, Kind: InputKind, Name: name, Node: -1})
	b.program.Inputs = append(b.program.Inputs, v)
	return v
}

// Param declares the use of a parameter, by its full checkpoint name. Naming one twice yields the same value.
func (b *Builder) Param(name string, shape ...int) Value {
	if b.err != nil {
		return Value{}
	}
	if v, ok := b.params[name]; ok {
		if have := b.program.Values[v.Index()].Shape; !have.Equal(shape) {
			b.fail("Param", fmt.Sprintf("%q is used as %v and as %v", name, have, Shape(shape)))
			return Value{}
		}
		return v
	}
	v := b.value(ValueInfo{Type: Type{Shape: append(Shape(nil), shape...)}, Kind: ParamKind, Name: name, Node: -1})
	if b.params == nil {
		b.params = make(map[string]Value)
	}
	b.params[name] = v
	b.program.Params = append(b.program.Params, v)
	return v
}

// Op records op and returns its result, the first if it has several.
func (b *Builder) Op(op Op) Value { return b.Results(op)[0] }

// Results records op and returns all of its results. After an error it returns one zero Value for each that the op may
// have, so that model code may go on naming them.
func (b *Builder) Results(op Op) []Value {
	if out := b.record(op); out != nil {
		return out
	}
	return make([]Value, maxResults)
}

// maxResults is the largest number of results an op has: the three of AttentionGradient and AdamW.
const maxResults = 3

func (b *Builder) record(op Op) []Value {
	if b.err != nil {
		return nil
	}
	for _, v := range op.Operands() {
		if v.Index() >= len(b.program.Values) {
			b.fail(OpName(op), "an operand belongs to another program")
			return nil
		}
	}
	out, err := op.infer(types(b.program.Values))
	if err != nil {
		b.fail(OpName(op), err.Error())
		return nil
	}
	node := Node{Op: op, Path: b.path(), segment: b.segment}
	for _, t := range out {
		if t.Bytes() <= 0 {
			b.fail(OpName(op), fmt.Sprintf("the result %v is empty, too large or of no element type", t))
			return nil
		}
		node.Out = append(node.Out, b.value(ValueInfo{Type: t, Kind: ResultKind, Node: len(b.program.Nodes)}))
	}
	b.program.Nodes = append(b.program.Nodes, node)
	return node.Out
}

// Reshape is Op(Reshape{v, shape}).
func (b *Builder) Reshape(v Value, shape ...int) Value { return b.Op(Reshape{X: v, Shape: shape}) }

// Output makes v a result of the program. Runs deliver outputs in the order of declaration.
func (b *Builder) Output(v Value) {
	if b.err != nil {
		return
	}
	if !b.known(v) || b.program.Values[v.Index()].Kind != ResultKind {
		b.fail("Output", "an output must be the result of an op")
		return
	}
	b.program.Values[v.Index()].Output = true
	b.program.Outputs = append(b.program.Outputs, v)
}

// Dims are the extents of v, which must have the given rank. After an error it returns ones, so that
// model code may go on computing with them.
func (b *Builder) Dims(v Value, rank int) []int {
	if b.err == nil && !b.known(v) {
		b.fail("Dims", "the value is missing or belongs to another program")
	}
	if b.err == nil {
		if s := b.program.Values[v.Index()].Shape; len(s) == rank {
			return s
		} else {
			b.fail("Dims", fmt.Sprintf("the value is %v, want rank %d", s, rank))
		}
	}
	ones := make([]int, rank)
	for i := range ones {
		ones[i] = 1
	}
	return ones
}

// Shape is the extents of v, not to be modified; nil after an error or without v.
func (b *Builder) Shape(v Value) Shape {
	if b.err != nil {
		return nil
	}
	return types(b.program.Values).of(v).Shape
}

// Batch is the outermost extent of v, its number of samples; 0 after an error or without v.
func (b *Builder) Batch(v Value) int {
	if s := b.Shape(v); len(s) > 0 {
		return s[0]
	}
	return 0
}

// Build returns the recorded program, or the first error met while recording it. Nothing must be recorded afterwards.
func (b *Builder) Build() (*Program, error) {
	if b.err == nil && len(b.program.Outputs) == 0 {
		b.err = errors.New("compute: the program has no output")
	}
	if b.err != nil {
		return nil, b.err
	}
	p := b.program
	return &p, nil
}

func (b *Builder) value(info ValueInfo) Value {
	b.program.Values = append(b.program.Values, info)
	return Value{int32(len(b.program.Values))}
}

// known reports whether v may be a value of this program.
func (b *Builder) known(v Value) bool { return v.Valid() && v.Index() < len(b.program.Values) }

func (b *Builder) path() string { return strings.Join(b.scopes, ".") }

func (b *Builder) fail(op, detail string) {
	b.Fail(&ShapeError{Path: b.path(), Op: op, Detail: detail})
}
