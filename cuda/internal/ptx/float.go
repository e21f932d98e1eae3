package ptx

import (
	"fmt"
	"math"
)

// Float is a register with a float32.
type Float struct {
	k    *Kernel
	name string
}

// number is an operand: a Float or a float64.
func (k *Kernel) number(operand any) string {
	switch v := operand.(type) {
	case Float:
		return v.name
	case float64:
		return fmt.Sprintf("0f%08X", math.Float32bits(float32(v)))
	}
	panic(fmt.Sprintf("ptx: kernel %s: %T is neither Float nor float64", k.name, operand))
}

// Float is a fresh register that holds a value, to be set anew later.
func (k *Kernel) Float(value any) Float { return Float{k, k.to(f32, "mov.f32", k.number(value))} }

// Floats are n fresh registers that hold a value.
func (k *Kernel) Floats(n int, value any) []Float {
	fs := make([]Float, n)
	for i := range fs {
		fs[i] = k.Float(value)
	}
	return fs
}

// Set replaces what the register holds.
func (a Float) Set(value any) { a.k.op("mov.f32", a.name, a.k.number(value)) }

func (a Float) binary(mnemonic string, b any) Float {
	return Float{a.k, a.k.to(f32, mnemonic, a.name, a.k.number(b))}
}

func (a Float) unary(mnemonic string) Float { return Float{a.k, a.k.to(f32, mnemonic, a.name)} }

// Plus is a + b.
func (a Float) Plus(b any) Float { return a.binary("add.rn.f32", b) }

// Minus is a - b.
func (a Float) Minus(b any) Float { return a.binary("sub.rn.f32", b) }

// Times is a·b.
func (a Float) Times(b any) Float { return a.binary("mul.rn.f32", b) }

// TimesPlus is a·b + c, rounded once.
func (a Float) TimesPlus(b, c any) Float {
	return Float{a.k, a.k.to(f32, "fma.rn.f32", a.name, a.k.number(b), a.k.number(c))}
}

// Over is a / b, correctly rounded.
func (a Float) Over(b any) Float { return a.binary("div.rn.f32", b) }

// Max is the greater of a and b; a NaN counts for nothing.
func (a Float) Max(b any) Float { return a.binary("max.f32", b) }

// Magnitude is a without its sign.
func (a Float) Magnitude() Float { return a.unary("abs.f32") }

// Root is the square root, correctly rounded.
func (a Float) Root() Float { return a.unary("sqrt.rn.f32") }

// Exp2 is 2 to the power of a, within two units in the last place; tiny results are zero.
func (a Float) Exp2() Float { return a.unary("ex2.approx.ftz.f32") }

// Reciprocal is 1 / a, within one unit in the last place.
func (a Float) Reciprocal() Float { return a.unary("rcp.approx.ftz.f32") }

// Signed is a with the sign of b.
func (a Float) Signed(b Float) Float {
	return Float{a.k, a.k.to(f32, "copysign.f32", b.name, a.name)}
}

// Add adds b to the register.
func (a Float) Add(b any) { a.k.op("add.rn.f32", a.name, a.name, a.k.number(b)) }

// AddProduct adds b·c to the register, rounding once.
func (a Float) AddProduct(b, c any) {
	a.k.op("fma.rn.f32", a.name, a.k.number(b), a.k.number(c), a.name)
}

// Less tells whether a < b, which no NaN is.
func (a Float) Less(b any) Pred {
	return Pred{a.k, a.k.to(pred, "setp.lt.f32", a.name, a.k.number(b))}
}

// Equal tells whether a = b, which no NaN is.
func (a Float) Equal(b any) Pred {
	return Pred{a.k, a.k.to(pred, "setp.eq.f32", a.name, a.k.number(b))}
}

// ChooseFloat is yes where the predicate holds and no elsewhere.
func (p Pred) ChooseFloat(yes, no any) Float {
	return Float{p.k, p.k.to(f32, "selp.f32", p.k.number(yes), p.k.number(no), p.name)}
}

// Exchanged is what the lane holds whose number differs from this one's in the bits of mask. All lanes of the warp take part.
func (a Float) Exchanged(mask int) Float {
	return Float{a.k, a.k.to(f32, "shfl.sync.bfly.b32", a.name, fmt.Sprint(mask), "31", "-1")}
}

// From is what a lane of the warp holds, a number from 0 to 31. All lanes take part.
func (a Float) From(lane any) Float {
	return Float{a.k, a.k.to(f32, "shfl.sync.idx.b32", a.name, a.k.text(lane), "31", "-1")}
}

// Bits is the number's representation.
func (a Float) Bits() Int { return Int{a.k, a.k.to(b32, "mov.b32", a.name)} }

// Half is a register with a half-precision number.
type Half struct {
	k    *Kernel
	name string
}

// Half is the nearest half-precision number.
func (a Float) Half() Half { return Half{a.k, a.k.to(b16, "cvt.rn.f16.f32", a.name)} }

// Float is the number, exactly.
func (h Half) Float() Float { return Float{h.k, h.k.to(f32, "cvt.f32.f16", h.name)} }

// Pack is a register with the halves that are nearest to two numbers.
func (k *Kernel) Pack(low, high Float) Int {
	return Int{k, k.to(b32, "cvt.rn.f16x2.f32", high.name, low.name)}
}
