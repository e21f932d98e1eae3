package compute

import (
	"bufio"
	"fmt"
	"io"
)

// Program is a straight line of ops over single-assignment values. It is immutable once built.
type Program struct {
	Values  []ValueInfo // indexed by Value.Index
	Nodes   []Node      // in execution order
	Inputs  []Value
	Params  []Value
	Outputs []Value
}

// Node is one recorded op with its results.
type Node struct {
	Op   Op
	Out  []Value
	Path string // scope path: "mid_block.attentions.0"

	segment int // checkpoint segment, from 1; 0 for none
}

// Type is the type of v.
func (p *Program) Type(v Value) Type { return types(p.Values).of(v) }

// Shape is the shape of v.
func (p *Program) Shape(v Value) Shape { return p.Type(v).Shape }

// FLOPs counts node i's floating-point operations by the direct algorithm, a multiply-add as two.
func (p *Program) FLOPs(i int) int64 { return p.Nodes[i].Op.flops(types(p.Values)) }

// TotalFLOPs is the sum of FLOPs over all nodes.
func (p *Program) TotalFLOPs() int64 {
	var sum int64
	for i := range p.Nodes {
		sum += p.FLOPs(i)
	}
	return sum
}

// Dump writes one line per op: index, path, op, result types, operand types, arena offsets, bytes and FLOPs,
// with the offsets of the given layout.
func (p *Program) Dump(w io.Writer, l *Layout) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "# %d ops, %d inputs, %d parameters, %d outputs, arena %d bytes, %d FLOPs\n",
		len(p.Nodes), len(p.Inputs), len(p.Params), len(p.Outputs), l.Size, p.TotalFLOPs())
	for i, n := range p.Nodes {
		fmt.Fprintf(out, "%4d %s %s", i, n.Path, OpName(n.Op))
		for _, y := range n.Out {
			fmt.Fprintf(out, " %v", p.Type(y))
		}
		fmt.Fprint(out, " <-")
		for _, v := range n.Op.Operands() {
			if info := p.Values[v.Index()]; info.Kind == ParamKind {
				fmt.Fprintf(out, " %s%v", info.Name, info.Shape)
			} else {
				fmt.Fprintf(out, " %%%d%v", v.Index(), info.Type)
			}
		}
		fmt.Fprint(out, " |")
		for _, y := range n.Out {
			fmt.Fprintf(out, " %%%d @%d %d B", y.Index(), l.Offset(y), p.Type(y).Bytes())
		}
		fmt.Fprintf(out, " %d FLOP\n", p.FLOPs(i))
	}
	return out.Flush()
}
