package simgpu

import "math"

// doubles are the functions of float64; those of one number have it twice.
var doubles = map[string]func(a, b float64) float64{
	"add.rn.f64":  func(a, b float64) float64 { return a + b },
	"sub.rn.f64":  func(a, b float64) float64 { return a - b },
	"mul.rn.f64":  func(a, b float64) float64 { return a * b },
	"div.rn.f64":  func(a, b float64) float64 { return a / b },
	"sqrt.rn.f64": func(a, _ float64) float64 { return math.Sqrt(a) },
}

func (p *parser) double(s statement, f func(a, b float64) float64) step {
	d, a, b := p.register(s.operands[0], "f64"), p.register(s.operands[1], "f64"), p.register(s.operands[len(s.operands)-1], "f64")
	return func(w *warp, lanes uint32) {
		x, y := w.readLong(a, lanes), w.readLong(b, lanes)
		z := w.writeLong(d, lanes)
		each(lanes, func(l int) { z[l] = math.Float64bits(f(math.Float64frombits(x[l]), math.Float64frombits(y[l]))) })
	}
}

// widen is cvt of a float32 to a float64.
func (p *parser) widen(s statement) step {
	d, a := p.register(s.operands[0], "f64"), p.word(s.operands[1])
	return func(w *warp, lanes uint32) {
		x, y := w.read(a, lanes), w.writeLong(d, lanes)
		each(lanes, func(l int) { y[l] = math.Float64bits(float64(float(x[l]))) })
	}
}

// narrow is cvt of a float64 to the nearest float32.
func (p *parser) narrow(s statement) step {
	d, a := p.result(s.operands[0]), p.register(s.operands[1], "f64")
	return func(w *warp, lanes uint32) {
		x, y := w.readLong(a, lanes), w.write(d, lanes)
		each(lanes, func(l int) { y[l] = word(float32(math.Float64frombits(x[l]))) })
	}
}
