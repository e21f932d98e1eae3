package lora

import (
	"fmt"
	"math"

	"github.com/atelier-go/atelier/compute"
)

// OFT turns the outputs of a layer, or its inputs, by orthogonal matrices, one for each block of neighbours, and then scales
// the outputs. With several stages of blocks, butterfly OFT, the outputs are permuted between them. See Qiu et al.,
// "Controlling Text-to-Image Diffusion by Orthogonal Finetuning" (arXiv:2306.07280) and Liu et al., arXiv:2311.06243.
type OFT struct {
	Rotations Factor    // [stages, blocks, b, b]
	Rescale   []float32 // what each output is multiplied with; nil for none
	Inputs    bool
	Butterfly bool
}

// Algorithm implements Delta: "OFT" or "BOFT".
func (r OFT) Algorithm() string {
	if r.Butterfly {
		return "BOFT"
	}
	return "OFT"
}

// Rank implements Delta: 0.
func (r OFT) Rank() int { return 0 }

// Add implements Delta.
func (r OFT) Add(out []float32, w Factor, strength float64, _ int) {
	turned := make([]float32, len(w.Data))
	switch {
	case r.Inputs:
		r.turnInputs(turned, w)
	case r.Butterfly:
		r.turnStages(turned, w)
	default:
		r.turnOutputs(turned, w)
	}
	columns := w.Shape[1:].Elements()
	for i, v := range turned {
		if r.Rescale != nil {
			v *= r.Rescale[i/columns]
		}
		out[i] += float32(strength) * (v - w.Data[i])
	}
}

// block is the matrix of block k of a stage.
func (r OFT) block(stage, k int) []float32 {
	blocks, b := r.Rotations.Shape[1], r.Rotations.Shape[2]
	return r.Rotations.Data[(stage*blocks+k%blocks)*b*b:][:b*b]
}

// turnOutputs writes Rᵀ·W of each block of rows.
func (r OFT) turnOutputs(turned []float32, w Factor) {
	b, columns := r.Rotations.Shape[2], w.Shape[1:].Elements()
	for k := range w.Shape[0] / b {
		block := r.block(0, k)
		for n := range b {
			for m := range b {
				axpy(turned[(k*b+m)*columns:][:columns], block[n*b+m], w.Data[(k*b+n)*columns:])
			}
		}
	}
}

// turnStages writes R·W of each block of rows, in stages that each pair other rows.
func (r OFT) turnStages(turned []float32, w Factor) {
	stages, b, columns := r.Rotations.Shape[0], r.Rotations.Shape[2], w.Shape[1:].Elements()
	now := append([]float32(nil), w.Data...)
	for stage := range stages {
		// Rows are seen as [c][2][half] and worked on in the order [c][half][2].
		half := b / 2 << stage
		place := func(i int) int { return i/(2*half)*2*half + i%2*half + i%(2*half)/2 }
		clear(turned)
		for i := range w.Shape[0] {
			block := r.block(stage, i/b)
			row := turned[place(i)*columns:][:columns]
			for j := range b {
				axpy(row, block[i%b*b+j], now[place(i/b*b+j)*columns:])
			}
		}
		copy(now, turned)
	}
}

// turnInputs writes W·Rᵀ of each block of columns.
func (r OFT) turnInputs(turned []float32, w Factor) {
	b, columns := r.Rotations.Shape[2], w.Shape[1:].Elements()
	for at := 0; at < len(w.Data); at += b {
		block := r.block(0, at%columns/b)
		for k := range b {
			for c, v := range w.Data[at:][:b] {
				turned[at+k] += block[k*b+c] * v
			}
		}
	}
}

func (r OFT) fits(shape compute.Shape) bool {
	s := r.Rotations.Shape
	if len(shape) < 2 || len(s) != 4 || s[0] < 1 || s[1] < 1 || s[2] < 1 || s[2] != s[3] || s.Elements() != len(r.Rotations.Data) {
		return false
	}
	turned := shape[0]
	if r.Inputs {
		turned = shape[1:].Elements()
	}
	if s[1]*s[2] != turned && (s[1] != 1 || !r.Inputs || turned%s[2] != 0) { // PEFT shares one block among all
		return false
	}
	if r.Butterfly && (s[2]%2 != 0 || s[0] > 32 || turned%(s[2]<<(s[0]-1)) != 0) {
		return false
	}
	return r.Rescale == nil || len(r.Rescale) == shape[0]
}

func (r OFT) isZero() bool { return false }

func (r OFT) shapes() string { return fmt.Sprintf("rotations are %v", r.Rotations.Shape) }

// readOFT makes the change of kohya's and LyCORIS' tensors: what the matrices are made of, with the bound in alpha, or, in
// early versions, themselves.
func readOFT(t Target, x *tensors) (Delta, error) {
	r := OFT{Rescale: x.at[partRescale].Data}
	if f, ok := x.at[partOftDiag]; ok {
		r.Rotations = f
	} else {
		f := x.at[partOftBlocks]
		r.Butterfly = len(f.Shape) == 4
		bound := 0.0
		if a := x.at[partAlpha]; len(a.Data) == 1 {
			bound = float64(a.Data[0]) * float64(t.Shape[0])
		}
		if n := len(f.Shape); n < 3 || f.Shape[n-3]*f.Shape[n-2] != t.Shape[0] {
			return OFT{Rotations: f}, nil // which does not fit
		}
		r.Rotations = cayley(f, bound)
	}
	if len(r.Rotations.Shape) == 3 {
		r.Rotations.Shape = append(compute.Shape{1}, r.Rotations.Shape...)
	}
	return r, nil
}

// cayley makes (I+Q)·(I-Q)⁻¹ of each matrix of the last two axes, with Q = B - Bᵀ, of which all together have at most the
// norm bound, if that is not 0. Tensors of other forms stay, for others to refuse.
func cayley(f Factor, bound float64) Factor {
	n := len(f.Shape)
	if n < 3 || f.Shape[n-1] != f.Shape[n-2] || f.Shape[n-1] == 0 {
		return f
	}
	b := f.Shape[n-1]
	skew, squares := make([]float64, len(f.Data)), 0.0
	for at := 0; at < len(f.Data); at += b * b {
		for i := range b {
			for j := range b {
				q := float64(f.Data[at+i*b+j]) - float64(f.Data[at+j*b+i])
				skew[at+i*b+j] = q
				squares += q * q
			}
		}
	}
	shrink := 1.0
	if norm := math.Sqrt(squares); bound > 0 && norm > bound {
		shrink = bound / norm
	}
	turned := Factor{f.Shape, make([]float32, len(f.Data))}
	for at := 0; at < len(f.Data); at += b * b {
		for i := range b * b {
			skew[at+i] *= shrink
		}
		rotation(turned.Data[at:][:b*b], skew[at:][:b*b], b)
	}
	return turned
}

// rotation writes (I+Q)·(I-Q)⁻¹ = 2·(I-Q)⁻¹ - I, by Gauss and Jordan with pivots; I-Q can be inverted as Q is skew.
func rotation(out []float32, q []float64, b int) {
	width := 2 * b
	m := make([]float64, b*width) // [I-Q | I]
	for i := range b {
		for j := range b {
			m[i*width+j] = -q[i*b+j]
		}
		m[i*width+i]++
		m[i*width+b+i] = 1
	}
	for i := range b {
		pivot := i
		for r := i + 1; r < b; r++ {
			if math.Abs(m[r*width+i]) > math.Abs(m[pivot*width+i]) {
				pivot = r
			}
		}
		row := m[i*width:][:width]
		if other := m[pivot*width:][:width]; pivot != i {
			for j := range row {
				row[j], other[j] = other[j], row[j]
			}
		}
		inverse := 1 / row[i]
		for j := i; j < width; j++ {
			row[j] *= inverse
		}
		for r := range b {
			if v := m[r*width+i]; r != i && v != 0 {
				for j := i; j < width; j++ {
					m[r*width+j] -= v * row[j]
				}
			}
		}
	}
	for i := range b {
		for j := range b {
			v := 2 * m[i*width+b+j]
			if i == j {
				v--
			}
			out[i*b+j] = float32(v)
		}
	}
}

// readPEFTOFT makes the change of PEFT's tensor, which has of each block of inputs the part of Q above the diagonal.
func readPEFTOFT(t Target, x *tensors) (Delta, error) {
	v := x.at[partPeftOFT]
	if len(v.Shape) != 2 {
		return nil, fmt.Errorf("tensor %q is %v; OFT before PEFT 0.16 is not supported: train it again, or merge it with the program that made it", x.keys[partPeftOFT], v.Shape)
	}
	blocks, n := v.Shape[0], v.Shape[1]
	b := int(math.Round((1 + math.Sqrt(float64(1+8*n))) / 2))
	if b*(b-1)/2 != n {
		return nil, fmt.Errorf("tensor %q is %v, which is no part of square blocks; get the file again", x.keys[partPeftOFT], v.Shape)
	}
	if t.columns()%b != 0 {
		return OFT{Rotations: v}, nil // which does not fit
	}
	turned := Factor{compute.Shape{1, blocks, b, b}, make([]float32, blocks*b*b)}
	for k := range blocks {
		q := make([]float64, b*b)
		at := k * n
		for i := range b {
			for j := i + 1; j < b; j++ {
				q[i*b+j], q[j*b+i] = float64(v.Data[at]), -float64(v.Data[at])
				at++
			}
		}
		out := turned.Data[k*b*b:][:b*b]
		if !x.settings.series() {
			for i := range q { // PEFT's matrix is (I-Q)·(I+Q)⁻¹
				q[i] = -q[i]
			}
			rotation(out, q, b)
		} else {
			neumann(out, q, b, x.settings.terms())
		}
	}
	return OFT{Rotations: turned, Inputs: true}, nil
}

// neumann writes PEFT's series for (I+Q)·(I-Q)⁻¹, I + 2Q + 2Q² + … + Qⁿ, whose last power is one less than the terms, but
// at least the third.
func neumann(out []float32, q []float64, b, terms int) {
	sum, power := make([]float64, b*b), make([]float64, b*b)
	for i := range b {
		sum[i*b+i], power[i*b+i] = 1, 1
	}
	last := terms - 1
	if terms > 2 {
		last = max(last, 3)
	}
	for n := 1; n <= last; n++ {
		power = multiply(power, q, b)
		factor := 2.0
		if n == last && n > 1 {
			factor = 1
		}
		for i, v := range power {
			sum[i] += factor * v
		}
	}
	for i, v := range sum {
		out[i] = float32(v)
	}
}

// multiply is the product of two square matrices.
func multiply(x, y []float64, b int) []float64 {
	z := make([]float64, b*b)
	for i := range b {
		for k := range b {
			for j, v := range y[k*b:][:b] {
				z[i*b+j] += x[i*b+k] * v
			}
		}
	}
	return z
}
