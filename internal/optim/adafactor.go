package optim

import "math"

// Adafactor is Adam with the second moments of a matrix factored into those of its rows and of its columns. With
// u = g² + ε1, the mean R of each row and C of each column of u, and b = 1 - k^DecayRate:
//
//	R ← b·R + (1-b)·mean(u, columns)     C ← b·C + (1-b)·mean(u, rows)
//	û = g/√(R/mean(R))/√C
//	û ← û/max(1, RMS(û)/ClipThreshold)
//	α = lr, or with RelativeStep min(10⁻², 1/√k), times max(ε2, RMS(p)) with ScaleParameter
//	p ← p - α·decay·p - α·û
//
// A parameter of more than two dimensions is as many matrices as the first ones say; those of 1×1 convolutions are of a
// single number. WarmupInit has 10⁻⁶·k in place of 10⁻². A Beta1 above 0 averages α·û over steps.
// Shazeer & Stern (arXiv:1804.04235), algorithms 4 to 6, with the defaults of transformers.
type Adafactor struct {
	Eps1, Eps2, ClipThreshold, DecayRate, Beta1, WeightDecay float64
	ScaleParameter, RelativeStep, WarmupInit                 bool
}

// Arrays implements Optimizer.
func (o *Adafactor) Arrays(shape []int) []Array {
	n := len(shape)
	arrays := []Array{{"row", shape[:n-1]}, {"column", append(append([]int(nil), shape[:n-2]...), shape[n-1])}}
	if o.Beta1 > 0 {
		arrays = append(arrays, Array{"m", shape})
	}
	return arrays
}

// Numbers implements Optimizer.
func (o *Adafactor) Numbers() map[string]*float64 { return nil }

// Step implements Optimizer.
func (o *Adafactor) Step(k int, tensors []Tensor) {
	b := 1 - math.Pow(float64(k), o.DecayRate)
	for _, t := range tensors {
		rows, columns := t.Shape[len(t.Shape)-2], t.Shape[len(t.Shape)-1]
		for at := 0; at < len(t.Gradient); at += rows * columns {
			i := at / (rows * columns)
			o.direction(b, t.Gradient[at:][:rows*columns], t.State[0][i*rows:][:rows], t.State[1][i*columns:][:columns])
		}
		clip := max(1, rms(t.Gradient)/o.ClipThreshold)
		rate := o.rate(k, t)
		for i, u := range t.Gradient {
			move := rate * float64(u) / clip
			if o.Beta1 > 0 {
				m := t.State[2]
				move = o.Beta1*float64(m[i]) + (1-o.Beta1)*move
				m[i] = float32(move)
			}
			p := float64(t.Parameter[i])
			t.Parameter[i] = float32(p - rate*o.WeightDecay*p - move)
		}
	}
}

// direction turns the gradient of a matrix into û.
func (o *Adafactor) direction(b float64, g, row, column []float32) {
	rows, columns := len(row), len(column)
	mean := 0.0 // that of all rows
	for i := range row {
		sum := 0.0
		for _, x := range g[i*columns:][:columns] {
			sum += float64(x)*float64(x) + o.Eps1
		}
		row[i] = float32(b*float64(row[i]) + (1-b)*sum/float64(columns))
		mean += float64(row[i]) / float64(rows)
	}
	for j := range column {
		sum := 0.0
		for i := range row {
			x := float64(g[i*columns+j])
			sum += x*x + o.Eps1
		}
		column[j] = float32(b*float64(column[j]) + (1-b)*sum/float64(rows))
	}
	for i := range row {
		r := math.Sqrt(float64(row[i]) / mean)
		for j := range column {
			g[i*columns+j] = float32(float64(g[i*columns+j]) / r / math.Sqrt(float64(column[j])))
		}
	}
}

// rate is α.
func (o *Adafactor) rate(k int, t Tensor) float64 {
	rate := t.Rate
	if o.RelativeStep {
		most := 1e-2
		if o.WarmupInit {
			most = 1e-6 * float64(k)
		}
		rate = min(most, 1/math.Sqrt(float64(k)))
	}
	if o.ScaleParameter {
		rate *= max(o.Eps2, rms(t.Parameter))
	}
	return rate
}

// rms is the root of the mean square.
func rms(v []float32) float64 {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	return math.Sqrt(sum / float64(len(v)))
}
