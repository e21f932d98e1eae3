package compute

import "fmt"

// MergeTokens averages similar tokens of a map, so that attention has fewer to look at. The first token of every whole cell of 2×2 is a
// destination, all others are sources; each source finds the destination of the greatest cosine, and the Merged sources that are most
// similar to theirs become one token with it, their mean. X is [N,Height·Width,C]. The results are the tokens, [N,S,C] with
// S = Height·Width − Merged, sources that stay before destinations, and for each token of X the row that it went to, I32
// [N,Height·Width], of all N·S rows: what [Embed] reads to give every token its answer back. Of equals the earlier token comes first.
// See Bolya & Hoffman, "Token Merging for Fast Stable Diffusion" (arXiv:2303.17604).
type MergeTokens struct {
	X                     Value
	Height, Width, Merged int
}

// Operands implements Op.
func (op MergeTokens) Operands() []Value { return present(op.X) }

// Destinations lists the tokens that others are merged into, and Sources the others, both in order.
func (op MergeTokens) Destinations() (tokens []int) { return op.part(true) }

// Sources lists the tokens that may be merged into others.
func (op MergeTokens) Sources() (tokens []int) { return op.part(false) }

func (op MergeTokens) part(destinations bool) (tokens []int) {
	for t := range op.Height * op.Width {
		y, x := t/op.Width, t%op.Width
		if whole := y|1 < op.Height && x|1 < op.Width; (whole && y%2 == 0 && x%2 == 0) == destinations {
			tokens = append(tokens, t)
		}
	}
	return tokens
}

func (op MergeTokens) infer(t types) ([]Type, error) {
	x := t.of(op.X)
	if err := wantFloat("input", x, 3); err != nil {
		return nil, err
	}
	tokens, destinations := x.Shape[1], op.Height/2*(op.Width/2)
	if op.Height < 2 || op.Width < 2 || op.Height*op.Width != tokens {
		return nil, fmt.Errorf("input %v is no map of %d×%d tokens with a cell of 2×2", x, op.Height, op.Width)
	}
	if op.Merged < 0 || op.Merged > tokens-destinations {
		return nil, fmt.Errorf("%d tokens merged, want 0 to the %d that are not destinations", op.Merged, tokens-destinations)
	}
	return []Type{{x.DType, Shape{x.Shape[0], tokens - op.Merged, x.Shape[2]}}, {I32, Shape{x.Shape[0], tokens}}}, nil
}

func (op MergeTokens) gradient(g *adjoint, _ Value) {
	g.fail(op, "which tokens are merged is a choice")
}

func (op MergeTokens) flops(t types) int64 {
	x := t.of(op.X).Shape
	destinations := op.Height / 2 * (op.Width / 2)
	return 2 * int64(x.Elements()) * int64(destinations)
}
