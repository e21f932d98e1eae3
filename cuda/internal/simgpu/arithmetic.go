package simgpu

import (
	"math"
	"math/bits"
	"strings"

	"github.com/atelier-go/atelier/internal/f16"
)

func float(u uint32) float32 { return math.Float32frombits(u) }
func word(f float32) uint32  { return math.Float32bits(f) }

var unaries = map[string]func(a uint32) uint32{
	"mov.u32":        func(a uint32) uint32 { return a },
	"mov.f32":        func(a uint32) uint32 { return a },
	"mov.b32":        func(a uint32) uint32 { return a },
	"abs.f32":        func(a uint32) uint32 { return a &^ (1 << 31) },
	"sqrt.rn.f32":    func(a uint32) uint32 { return word(float32(math.Sqrt(float64(float(a))))) },
	"cvt.rn.f32.u32": func(a uint32) uint32 { return word(float32(a)) },
	"cvt.rn.f16.f32": func(a uint32) uint32 { return uint32(f16.FromF32(float(a))) },
	"cvt.f32.f16":    func(a uint32) uint32 { return word(f16.ToF32(uint16(a))) },
}

var binaries = map[string]func(a, b uint32) uint32{
	"add.s32":          func(a, b uint32) uint32 { return a + b },
	"sub.s32":          func(a, b uint32) uint32 { return a - b },
	"mul.lo.u32":       func(a, b uint32) uint32 { return a * b },
	"div.u32":          func(a, b uint32) uint32 { return a / b },
	"rem.u32":          func(a, b uint32) uint32 { return a % b },
	"min.u32":          func(a, b uint32) uint32 { return min(a, b) },
	"and.b32":          func(a, b uint32) uint32 { return a & b },
	"or.b32":           func(a, b uint32) uint32 { return a | b },
	"xor.b32":          func(a, b uint32) uint32 { return a ^ b },
	"shl.b32":          func(a, b uint32) uint32 { return a << b },
	"shr.u32":          func(a, b uint32) uint32 { return a >> b },
	"add.rn.f32":       func(a, b uint32) uint32 { return word(float(a) + float(b)) },
	"sub.rn.f32":       func(a, b uint32) uint32 { return word(float(a) - float(b)) },
	"mul.rn.f32":       func(a, b uint32) uint32 { return word(float(a) * float(b)) },
	"div.rn.f32":       func(a, b uint32) uint32 { return word(float(a) / float(b)) },
	"max.f32":          func(a, b uint32) uint32 { return word(greater(float(a), float(b))) },
	"copysign.f32":     func(a, b uint32) uint32 { return a&(1<<31) | b&^(1<<31) },
	"cvt.rn.f16x2.f32": func(a, b uint32) uint32 { return uint32(f16.FromF32(float(a)))<<16 | uint32(f16.FromF32(float(b))) },
}

var ternaries = map[string]func(a, b, c uint32) uint32{
	"mad.lo.u32": func(a, b, c uint32) uint32 { return a*b + c },
	"fma.rn.f32": func(a, b, c uint32) uint32 { return word(fma(float(a), float(b), float(c))) },
}

var relations = map[string]func(a, b uint32) bool{
	"lt.u32": func(a, b uint32) bool { return a < b },
	"ge.u32": func(a, b uint32) bool { return a >= b },
	"eq.s32": func(a, b uint32) bool { return a == b },
	"gt.s32": func(a, b uint32) bool { return int32(a) > int32(b) },
	"lt.f32": func(a, b uint32) bool { return float(a) < float(b) },
	"eq.f32": func(a, b uint32) bool { return float(a) == float(b) },
}

// approximation is a function that hardware has within so many units in the last place.
type approximation struct {
	of    func(x float64) float64
	units int
}

var approximations = map[string]approximation{
	"ex2.approx.ftz.f32": {math.Exp2, 2},
	"rcp.approx.ftz.f32": {func(x float64) float64 { return 1 / x }, 1},
}

// greater is the number where the other is none.
func greater(a, b float32) float32 {
	if a != a || b > a {
		return b
	}
	return a
}

// fma is a·b + c, rounded once: the product is exact in float64, and their sum is rounded to odd there before it is to nearest, unless it
// is so far from the middle between two numbers that this makes no difference.
func fma(a, b, c float32) float32 {
	p, q := float64(a)*float64(b), float64(c)
	s := p + q
	if math.Float64bits(s)&0x1fffffff != 0x10000000 && math.Abs(s) >= 0x1p-126 {
		return float32(s)
	}
	t := s - p
	if rest := (p - (s - t)) + (q - t); rest != 0 && rest == rest && !math.IsInf(s, 0) && math.Float64bits(s)&1 == 0 {
		away := math.Inf(1)
		if rest < 0 {
			away = math.Inf(-1)
		}
		s = math.Nextafter(s, away)
	}
	return float32(s)
}

// flush makes zero of what is too small for a normal number.
func flush(f float32) float32 {
	if math.Abs(float64(f)) < 0x1p-126 {
		return float32(math.Copysign(0, float64(f)))
	}
	return f
}

// off moves a result by up to so many units in the last place, as the seed has it for this argument.
func off(result float32, units int, argument, seed uint32) float32 {
	if result == 0 || math.IsInf(float64(result), 0) || math.IsNaN(float64(result)) {
		return result
	}
	hash := (argument ^ seed*0x9e3779b9) * 0x85ebca6b
	hash ^= hash >> 15
	return float(word(result) + uint32(int(hash%uint32(2*units+1))-units))
}

func (p *parser) unary(s statement, f func(a uint32) uint32) step {
	d, a := p.result(s.operands[0]), p.word(s.operands[1])
	quick := quickUnaries[s.mnemonic]
	return func(w *warp, lanes uint32) {
		x, y := w.read(a, lanes), w.write(d, lanes)
		if quick != nil && lanes == all {
			quick(y, x)
			return
		}
		for ; lanes != 0; lanes &= lanes - 1 {
			l := bits.TrailingZeros32(lanes) & 31
			y[l] = f(x[l])
		}
	}
}

func (p *parser) approximate(s statement, f approximation) step {
	d, a := p.result(s.operands[0]), p.word(s.operands[1])
	return func(w *warp, lanes uint32) {
		x, y := w.read(a, lanes), w.write(d, lanes)
		for ; lanes != 0; lanes &= lanes - 1 {
			l := bits.TrailingZeros32(lanes) & 31
			exact := flush(float32(f.of(float64(flush(float(x[l]))))))
			y[l] = word(off(exact, f.units, x[l], w.block.launch.Off))
		}
	}
}

func (p *parser) binary(s statement, f func(a, b uint32) uint32) step {
	d, a, b := p.result(s.operands[0]), p.word(s.operands[1]), p.word(s.operands[2])
	quick := quickBinaries[s.mnemonic]
	divides := s.mnemonic == "div.u32" || s.mnemonic == "rem.u32"
	return func(w *warp, lanes uint32) {
		x, y := w.read(a, lanes), w.read(b, lanes)
		z := w.write(d, lanes)
		if quick != nil && lanes == all {
			quick(z, x, y)
			return
		}
		for ; lanes != 0; lanes &= lanes - 1 {
			l := bits.TrailingZeros32(lanes) & 31
			if divides && y[l] == 0 {
				w.fail("lane %d divides by zero", l)
			}
			z[l] = f(x[l], y[l])
		}
	}
}

func (p *parser) ternary(s statement, f func(a, b, c uint32) uint32) step {
	d, a, b, c := p.result(s.operands[0]), p.word(s.operands[1]), p.word(s.operands[2]), p.word(s.operands[3])
	quick := quickTernaries[s.mnemonic]
	return func(w *warp, lanes uint32) {
		x, y, z := w.read(a, lanes), w.read(b, lanes), w.read(c, lanes)
		r := w.write(d, lanes)
		if quick != nil && lanes == all {
			quick(r, x, y, z)
			return
		}
		for ; lanes != 0; lanes &= lanes - 1 {
			l := bits.TrailingZeros32(lanes) & 31
			r[l] = f(x[l], y[l], z[l])
		}
	}
}

// compare is setp.
func (p *parser) compare(s statement, holds func(a, b uint32) bool) step {
	d, a, b := p.pred(s.operands[0]), p.word(s.operands[1]), p.word(s.operands[2])
	quick := quickRelations[strings.TrimPrefix(s.mnemonic, "setp.")]
	return func(w *warp, lanes uint32) {
		x, y := w.read(a, lanes), w.read(b, lanes)
		if quick != nil && lanes == all {
			w.writePred(d, lanes, quick(x, y))
			return
		}
		var answer uint32
		for left := lanes; left != 0; left &= left - 1 {
			l := bits.TrailingZeros32(left) & 31
			if holds(x[l], y[l]) {
				answer |= 1 << l
			}
		}
		w.writePred(d, lanes, answer)
	}
}

func (p *parser) bothPreds(s statement) step {
	d, a, b := p.pred(s.operands[0]), p.pred(s.operands[1]), p.pred(s.operands[2])
	return func(w *warp, lanes uint32) { w.writePred(d, lanes, w.readPred(a, lanes)&w.readPred(b, lanes)) }
}

func (p *parser) notPred(s statement) step {
	d, a := p.pred(s.operands[0]), p.pred(s.operands[1])
	return func(w *warp, lanes uint32) { w.writePred(d, lanes, ^w.readPred(a, lanes)) }
}

// pick sets z in some lanes, to x where yes has a bit and else to y.
func pick[T uint32 | uint64](z, x, y *[32]T, yes, lanes uint32) {
	for ; lanes != 0; lanes &= lanes - 1 {
		l := bits.TrailingZeros32(lanes) & 31
		z[l] = y[l]
		if yes>>l&1 != 0 {
			z[l] = x[l]
		}
	}
}

// choose is selp.
func (p *parser) choose(s statement) step {
	d, a, b, q := p.result(s.operands[0]), p.word(s.operands[1]), p.word(s.operands[2]), p.pred(s.operands[3])
	return func(w *warp, lanes uint32) {
		yes := w.readPred(q, lanes)
		x, y := w.read(a, lanes), w.read(b, lanes)
		pick(w.write(d, lanes), x, y, yes, lanes)
	}
}

func (p *parser) chooseLong(s statement) step {
	d, a, b, q := p.long(s.operands[0]), p.long(s.operands[1]), p.long(s.operands[2]), p.pred(s.operands[3])
	return func(w *warp, lanes uint32) {
		yes := w.readPred(q, lanes)
		x, y := w.readLong(a, lanes), w.readLong(b, lanes)
		pick(w.writeLong(d, lanes), x, y, yes, lanes)
	}
}

func (p *parser) addLong(s statement) step {
	d, a, b := p.long(s.operands[0]), p.long(s.operands[1]), literal(s.operands[2])
	return func(w *warp, lanes uint32) {
		x, y := w.readLong(a, lanes), w.writeLong(d, lanes)
		for ; lanes != 0; lanes &= lanes - 1 {
			l := bits.TrailingZeros32(lanes) & 31
			y[l] = x[l] + uint64(int64(int32(b)))
		}
	}
}

// index is mad.wide.u32.
func (p *parser) index(s statement) step {
	d, a, b, c := p.long(s.operands[0]), p.word(s.operands[1]), p.word(s.operands[2]), p.long(s.operands[3])
	return func(w *warp, lanes uint32) {
		x, y, z := w.read(a, lanes), w.read(b, lanes), w.readLong(c, lanes)
		r := w.writeLong(d, lanes)
		if lanes == all {
			for l := range r {
				r[l] = uint64(x[l])*uint64(y[l]) + z[l]
			}
			return
		}
		for ; lanes != 0; lanes &= lanes - 1 {
			l := bits.TrailingZeros32(lanes) & 31
			r[l] = uint64(x[l])*uint64(y[l]) + z[l]
		}
	}
}

// unpack is mov.b32 of one register to the two halves of another kind.
func (p *parser) unpack(s statement) step {
	d, a := p.vector(s.operands[0], 2), p.word(s.operands[1])
	return func(w *warp, lanes uint32) {
		x, low, high := w.read(a, lanes), w.write(d[0], lanes), w.write(d[1], lanes)
		for ; lanes != 0; lanes &= lanes - 1 {
			l := bits.TrailingZeros32(lanes) & 31
			low[l], high[l] = x[l]&0xffff, x[l]>>16
		}
	}
}

// shuffle is shfl.sync among all lanes: bfly, from the lane whose number differs in the bits given, or idx, from the lane given.
func (p *parser) shuffle(s statement) step {
	d, a, b := p.result(s.operands[0]), p.word(s.operands[1]), p.word(s.operands[2])
	if s.operands[3] != "31" || s.operands[4] != "-1" {
		panic(mistake("only shuffles among all lanes are known"))
	}
	butterfly := s.mnemonic == "shfl.sync.bfly.b32"
	return func(w *warp, lanes uint32) {
		w.whole(lanes)
		x, from := *w.read(a, lanes), *w.read(b, lanes)
		y := w.write(d, lanes)
		for l := range y {
			source := from[l]
			if butterfly {
				source ^= uint32(l)
			}
			y[l] = x[source&31]
		}
	}
}
