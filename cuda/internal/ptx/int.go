package ptx

import (
	"fmt"
	"math/bits"
	"strconv"
)

// Int is a register of 32 bits: a number without sign unless an operation says otherwise, or two halves.
type Int struct {
	k    *Kernel
	name string
}

// text is an operand: an Int or an int.
func (k *Kernel) text(operand any) string {
	switch v := operand.(type) {
	case Int:
		return v.name
	case int:
		return strconv.Itoa(v)
	}
	panic(fmt.Sprintf("ptx: kernel %s: %T is neither Int nor int", k.name, operand))
}

// Int is a fresh register that holds a value, to be set anew later.
func (k *Kernel) Int(value any) Int { return Int{k, k.to(b32, "mov.u32", k.text(value))} }

// Set replaces what the register holds.
func (a Int) Set(value any) { a.k.op("mov.u32", a.name, a.k.text(value)) }

// Thread is the thread's number in its block.
func (k *Kernel) Thread() Int { return k.special("%tid.x") }

// Block is the block's number along an axis of the grid, 0 to 2.
func (k *Kernel) Block(axis int) Int { return k.special("%ctaid." + "xyz"[axis:axis+1]) }

// Blocks is how many blocks the grid has along an axis.
func (k *Kernel) Blocks(axis int) Int { return k.special("%nctaid." + "xyz"[axis:axis+1]) }

func (k *Kernel) special(name string) Int { return Int{k, k.to(b32, "mov.u32", name)} }

func (a Int) binary(mnemonic string, b any) Int {
	return Int{a.k, a.k.to(b32, mnemonic, a.name, a.k.text(b))}
}

// Plus is a + b.
func (a Int) Plus(b any) Int {
	if b == 0 {
		return a
	}
	return a.binary("add.s32", b)
}

// Minus is a - b, which may be below zero: see [Int.Less].
func (a Int) Minus(b any) Int {
	if b == 0 {
		return a
	}
	return a.binary("sub.s32", b)
}

// Times is a·b.
func (a Int) Times(b any) Int {
	if n, ok := powerOfTwo(b); ok {
		return a.shift("shl.b32", n)
	}
	return a.binary("mul.lo.u32", b)
}

// TimesPlus is a·b + c.
func (a Int) TimesPlus(b, c any) Int {
	return Int{a.k, a.k.to(b32, "mad.lo.u32", a.name, a.k.text(b), a.k.text(c))}
}

// Over is a / b, cut.
func (a Int) Over(b any) Int {
	if n, ok := powerOfTwo(b); ok {
		return a.shift("shr.u32", n)
	}
	return a.binary("div.u32", b)
}

// Mod is the remainder of a / b.
func (a Int) Mod(b any) Int {
	if n, ok := powerOfTwo(b); ok {
		return a.And(1<<n - 1)
	}
	return a.binary("rem.u32", b)
}

// powerOfTwo is n where b is the int 2ⁿ.
func powerOfTwo(b any) (n int, ok bool) {
	v, ok := b.(int)
	return bits.TrailingZeros(uint(v)), ok && v > 0 && v&(v-1) == 0
}

func (a Int) shift(mnemonic string, n int) Int {
	if n == 0 {
		return a
	}
	return a.binary(mnemonic, n)
}

// And is a & b, bit by bit.
func (a Int) And(b any) Int { return a.binary("and.b32", b) }

// Or is a | b, bit by bit.
func (a Int) Or(b any) Int { return a.binary("or.b32", b) }

// Xor is a ^ b, bit by bit.
func (a Int) Xor(b any) Int { return a.binary("xor.b32", b) }

// Min is the smaller of a and b.
func (a Int) Min(b any) Int { return a.binary("min.u32", b) }

// Advance adds b to the register.
func (a Int) Advance(b any) { a.k.op("add.s32", a.name, a.name, a.k.text(b)) }

func (a Int) compare(relation string, b any) Pred {
	return Pred{a.k, a.k.to(pred, "setp."+relation, a.name, a.k.text(b))}
}

// Less tells whether a < b. Numbers without sign: what fell below zero is large, so that one comparison tells whether a
// coordinate lies within an image.
func (a Int) Less(b any) Pred { return a.compare("lt.u32", b) }

// AtLeast tells whether a ≥ b, without sign.
func (a Int) AtLeast(b any) Pred { return a.compare("ge.u32", b) }

// Equal tells whether a = b.
func (a Int) Equal(b any) Pred { return a.compare("eq.s32", b) }

// Positive tells whether a > 0, with sign.
func (a Int) Positive() Pred { return a.compare("gt.s32", 0) }

// Float is the number as a float32, rounded to nearest.
func (a Int) Float() Float { return Float{a.k, a.k.to(f32, "cvt.rn.f32.u32", a.name)} }

// Halves are the two that the register holds, the lower first.
func (a Int) Halves() (low, high Half) {
	low, high = Half{a.k, a.k.register(b16)}, Half{a.k, a.k.register(b16)}
	a.k.op("mov.b32", vector([]string{low.name, high.name}), a.name)
	return low, high
}

// Exchanged is what the lane holds whose number differs from this one's in the bits of mask. All lanes of the warp take part.
func (a Int) Exchanged(mask int) Int {
	return Int{a.k, a.k.to(b32, "shfl.sync.bfly.b32", a.name, strconv.Itoa(mask), "31", "-1")}
}

// Choose is yes where the predicate holds and no elsewhere.
func (p Pred) Choose(yes, no any) Int {
	return Int{p.k, p.k.to(b32, "selp.b32", p.k.text(yes), p.k.text(no), p.name)}
}
