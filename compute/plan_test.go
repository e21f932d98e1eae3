package compute

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

// randomProgram records a program that data chooses, one op for every three bytes, and the scratch of its nodes.
func randomProgram(data []byte) (*Program, func(i int) int) {
	var b Builder
	values := []Value{b.Input("a", F32, 2, 4, 8), b.Input("b", F32, 2, 4, 8)}
	weight := b.Param("weight", 8, 8)
	scratch := []byte{}
	for ; len(data) >= 3 && len(values) < 200; data = data[3:] {
		x, y := values[int(data[1])%len(values)], values[int(data[2])%len(values)]
		shape := b.program.Shape(x)
		same := b.program.Type(x).Equal(b.program.Type(y))
		var op Op
		switch choice := data[0] % 16; {
		case choice == 0:
			values = append(values, b.Input("more", F32, int(data[1]%3)+1, 4, 8))
			continue
		case choice <= 3:
			op = Activate{X: x, Activation: SiLU}
		case choice <= 5 && same:
			op = Add{A: x, B: y}
		case choice == 6 && len(shape) > 1 && shape.Last() == 8:
			op = Linear{X: x, Weight: weight}
		case choice <= 8 && same && len(shape) > 1 && shape.Last() == 8:
			op = Linear{X: x, Weight: weight, Epilogue: Epilogue{Residual: y}}
		case choice <= 11:
			op = Reshape{X: x, Shape: Shape{shape.Elements() / 8, 8}}
		case choice == 12 && shape.Elements() < 4096:
			op = Repeat{X: x, Times: int(data[2]%3) + 1}
		case choice == 13 && len(shape) == 2 && shape.Elements() < 4096:
			op = Concat{Parts: []Value{x, x}, Axis: 1}
		case choice == 14 && b.program.Values[x.Index()].Kind == ResultKind:
			b.Output(x)
			continue
		default:
			op = Activate{X: x}
		}
		values = append(values, b.Op(op))
		scratch = append(scratch, data[2])
	}
	b.Output(b.Op(Activate{X: values[len(values)-1]}))
	p, err := b.Build()
	if err != nil {
		panic(err) // a mistake in this function
	}
	return p, func(i int) int {
		if i < len(scratch) && scratch[i]%3 == 0 {
			return int(scratch[i]) * 20
		}
		return 0
	}
}

// errOverlap tells that the layout gave one place to two values alive at the same time.
var errOverlap = errors.New("a value was overwritten before its last use")

// execute runs a program on an arena in which every cell of arenaAlign bytes holds the name of the value it belongs
// to: writes put the name there, reads demand to find it. A view has the name of what it views.
func execute(p *Program, l *Layout, scratch func(i int) int) error {
	const rubbish = -2
	arena := make([]int, l.Size/arenaAlign)
	names := make([]int, len(p.Values))
	cells := func(v Value) []int {
		return arena[l.Offset(v)/arenaAlign:][:align(p.Type(v).Bytes())/arenaAlign]
	}
	write := func(cells []int, name int) {
		for i := range cells {
			cells[i] = name
		}
	}
	holds := func(v Value) bool {
		for _, name := range cells(v) {
			if name != names[v.Index()] {
				return false
			}
		}
		return true
	}

	write(arena, rubbish)
	for _, v := range p.Inputs {
		names[v.Index()] = v.Index()
		write(cells(v), v.Index())
	}
	for i, n := range p.Nodes {
		y := n.Out[0]
		if view, ok := n.Op.(Viewer); ok {
			names[y.Index()] = names[view.Viewed().Index()]
			if !holds(y) {
				return errOverlap
			}
			continue
		}
		if s := scratch(i); s > 0 {
			write(arena[l.Scratch(i)/arenaAlign:][:align(s)/arenaAlign], rubbish)
		} else if l.Scratch(i) != -1 {
			return errors.New("scratch was placed that nobody asked for")
		}
		overwritten := 0
		for _, v := range n.Op.Operands() {
			if p.Values[v.Index()].Kind == ParamKind {
				continue
			}
			if !holds(v) {
				return errOverlap
			}
			if meet(p, l, v, y) {
				overwritten++
				if !mayTake(p, l, n, v) {
					return errors.New("a result lies on an operand that the op must not overwrite")
				}
			}
		}
		if overwritten > 1 {
			return errors.New("a result lies on two operands")
		}
		names[y.Index()] = y.Index()
		write(cells(y), y.Index())
		if s := scratch(i); s > 0 {
			write(arena[l.Scratch(i)/arenaAlign:][:align(s)/arenaAlign], rubbish)
			if !holds(y) {
				return errors.New("scratch lies on the result")
			}
		}
	}
	for _, v := range p.Outputs {
		if !holds(v) {
			return errOverlap
		}
	}
	return nil
}

// meet reports whether the places of two values have a byte in common.
func meet(p *Program, l *Layout, v, w Value) bool {
	a, b := l.Offset(v), l.Offset(w)
	return a < b+p.Type(w).Bytes() && b < a+p.Type(v).Bytes()
}

// mayTake reports whether n may put its result exactly where v is.
func mayTake(p *Program, l *Layout, n Node, v Value) bool {
	over, ok := n.Op.(Overwriter)
	if !ok || l.Offset(v) != l.Offset(n.Out[0]) {
		return false
	}
	return slices.Contains(over.Overwritable(), v)
}

// liveBytes are the most bytes that must be held between two nodes, and total the bytes of all values and scratch.
func liveBytes(p *Program, scratch func(i int) int) (live, total int) {
	owner := make([]int, len(p.Values)) // whose bytes a value's are
	last := make([]int, len(p.Values))
	for i, info := range p.Values {
		owner[i], last[i] = i, info.Node
	}
	use := func(v Value, i int) { last[owner[v.Index()]] = max(last[owner[v.Index()]], i) }
	for i, n := range p.Nodes {
		if view, ok := n.Op.(Viewer); ok {
			owner[n.Out[0].Index()] = owner[view.Viewed().Index()]
		}
		for _, v := range n.Op.Operands() {
			use(v, i)
		}
		total += align(scratch(i))
	}
	for _, v := range p.Outputs {
		use(v, len(p.Nodes))
	}
	for i, info := range p.Values {
		if info.Kind != ParamKind && owner[i] == i {
			total += align(info.Bytes())
		}
	}
	for after := -1; after < len(p.Nodes); after++ {
		bytes := 0
		for i, info := range p.Values {
			if info.Kind != ParamKind && owner[i] == i && info.Node <= after && last[i] > after {
				bytes += align(info.Bytes())
			}
		}
		live = max(live, bytes)
	}
	return live, total
}

func checkPlan(t *testing.T, data []byte) {
	t.Helper()
	p, scratch := randomProgram(data)
	l := Plan(p, scratch)
	if err := execute(p, l, scratch); err != nil {
		t.Fatal(err)
	}
	if live, total := liveBytes(p, scratch); l.Size < live || l.Size > total {
		t.Fatalf("the arena has %d bytes, want at least %d that are alive together and at most %d in all", l.Size, live, total)
	}
	again := Plan(p, scratch)
	for i, info := range p.Values {
		v := Value{int32(i + 1)}
		if info.Kind == ParamKind {
			if l.Offset(v) != -1 {
				t.Fatalf("parameter %d has a place in the arena", i)
			}
			continue
		}
		if l.Offset(v)%arenaAlign != 0 {
			t.Fatalf("value %d is at %d, which is not aligned", i, l.Offset(v))
		}
		if again.Offset(v) != l.Offset(v) {
			t.Fatalf("planned again, value %d moves from %d to %d", i, l.Offset(v), again.Offset(v))
		}
	}
}

func TestPlanOfRandomPrograms(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		data := make([]byte, 3*(1+random.IntN(60)))
		for i := 0; i < len(data); i += 3 {
			binary.BigEndian.PutUint16(data[i:], uint16(random.Uint32()))
			data[i+2] = byte(random.Uint32())
		}
		checkPlan(t, data)
	}
}

func FuzzPlan(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{4, 0, 1, 1, 2, 0, 9, 3, 0, 7, 4, 2, 14, 2, 0})
	f.Add([]byte{9, 0, 0, 1, 2, 0, 4, 2, 3, 12, 4, 2, 13, 5, 5, 0, 2, 0, 7, 0, 1})
	f.Fuzz(func(t *testing.T, data []byte) { checkPlan(t, data) })
}

func TestPlanReusesStorage(t *testing.T) {
	const size = 1024 // bytes of one value
	for _, c := range []struct {
		name   string
		record func(b *Builder, x Value) Value
		want   int // values of the arena
	}{
		{"a chain of activations works in place", func(b *Builder, x Value) Value {
			for range 5 {
				x = b.Op(Activate{X: x, Activation: SiLU})
			}
			return x
		}, 1},
		{"a chain of linears alternates between two places", func(b *Builder, x Value) Value {
			for range 5 {
				x = b.Op(Linear{X: x, Weight: b.Param("weight", 8, 8)})
			}
			return x
		}, 2},
		{"a view costs nothing", func(b *Builder, x Value) Value {
			return b.Op(Activate{X: b.Reshape(b.Reshape(x, 256), 4, 64)})
		}, 1},
		{"a residual is taken over", func(b *Builder, x Value) Value {
			h := b.Op(Linear{X: x, Weight: b.Param("weight", 8, 8)})
			return b.Op(Linear{X: h, Weight: b.Param("weight", 8, 8), Epilogue: Epilogue{Residual: x}})
		}, 2},
		{"a residual in use later is not", func(b *Builder, x Value) Value {
			h := b.Op(Linear{X: x, Weight: b.Param("weight", 8, 8)})
			h = b.Op(Linear{X: h, Weight: b.Param("weight", 8, 8), Epilogue: Epilogue{Residual: x}})
			return b.Op(Add{A: h, B: x})
		}, 3},
		{"an operand read twice is not", func(b *Builder, x Value) Value {
			return b.Op(Linear{X: x, Weight: b.Param("weight", 8, 8), Epilogue: Epilogue{Residual: x}})
		}, 2},
		{"nor one that is read through a view", func(b *Builder, x Value) Value {
			return b.Op(Add{A: x, B: b.Reshape(x, 32, 8)})
		}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b Builder
			b.Output(c.record(&b, b.Input("x", F32, 32, 8)))
			p, err := b.Build()
			if err != nil {
				t.Fatal(err)
			}
			if got := Plan(p, nil).Size; got != c.want*size {
				t.Errorf("the arena has %d bytes, want %d times %d", got, c.want, size)
			}
		})
	}
}
