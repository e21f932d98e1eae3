package ptx

import (
	"fmt"
	"strings"
)

// Kernel is a function for the card while it is being written.
type Kernel struct {
	name      string
	threads   int
	minBlocks int
	params    []param
	head      strings.Builder // loads of parameters
	body      strings.Builder
	registers map[class]int
	labels    int
	shared    bool
}

type param struct{ dtype, symbol string }

// class is a kind of register; its text is the type that it is declared with.
type class string

const (
	b32  class = "b32"
	b64  class = "b64"
	f32  class = "f32"
	f64  class = "f64"
	b16  class = "b16"
	pred class = "pred"
)

// classes are in the order of their declarations, with the names of their registers.
var classes = []struct {
	class
	prefix string
}{{b16, "%h"}, {b32, "%r"}, {b64, "%d"}, {f32, "%f"}, {f64, "%e"}, {pred, "%p"}}

// New starts a kernel for blocks of so many threads, a multiple of 32.
func New(name string, threads int) *Kernel {
	return &Kernel{name: name, threads: threads, registers: make(map[class]int)}
}

// Name is the kernel's.
func (k *Kernel) Name() string { return k.name }

// Threads is how many a block has.
func (k *Kernel) Threads() int { return k.threads }

// MinBlocks asks the assembler for code of which a multiprocessor can hold n blocks at once.
func (k *Kernel) MinBlocks(n int) { k.minBlocks = n }

// Text is the module with the kernel in it.
func (k *Kernel) Text() string {
	var b strings.Builder
	b.WriteString(".version 7.0\n.target sm_80\n.address_size 64\n\n")
	if k.shared {
		b.WriteString(".extern .shared .align 128 .b8 smem[];\n\n")
	}
	fmt.Fprintf(&b, ".visible .entry %s(", k.name)
	for i, p := range k.params {
		fmt.Fprintf(&b, "%s\n\t.param .%s %s", strings.Repeat(",", min(i, 1)), p.dtype, p.symbol)
	}
	fmt.Fprintf(&b, "\n)\n.maxntid %d, 1, 1\n", k.threads)
	if k.minBlocks > 0 {
		fmt.Fprintf(&b, ".minnctapersm %d\n", k.minBlocks)
	}
	b.WriteString("{\n")
	for _, c := range classes {
		if n := k.registers[c.class]; n > 0 {
			fmt.Fprintf(&b, "\t.reg .%s %s<%d>;\n", c.class, c.prefix, n)
		}
	}
	return b.String() + k.head.String() + k.body.String() + "\tret;\n}\n"
}

// register is a fresh one.
func (k *Kernel) register(c class) string {
	for _, known := range classes {
		if known.class == c {
			k.registers[c]++
			return fmt.Sprint(known.prefix, k.registers[c]-1)
		}
	}
	panic("ptx: no registers of class " + c)
}

// op writes an instruction.
func (k *Kernel) op(mnemonic string, operands ...string) {
	fmt.Fprintf(&k.body, "\t%s", mnemonic)
	for i, operand := range operands {
		fmt.Fprintf(&k.body, "%s %s", strings.Repeat(",", min(i, 1)), operand)
	}
	k.body.WriteString(";\n")
}

// to writes an instruction whose first operand is a fresh register.
func (k *Kernel) to(c class, mnemonic string, operands ...string) string {
	register := k.register(c)
	k.op(mnemonic, append([]string{register}, operands...)...)
	return register
}

// Comment writes one for those who read the text.
func (k *Kernel) Comment(text string) { fmt.Fprintf(&k.body, "\t// %s\n", text) }

// declare adds a parameter and loads it.
func (k *Kernel) declare(name, dtype string, c class) string {
	symbol := k.name + "_" + name
	k.params = append(k.params, param{dtype, symbol})
	register := k.register(c)
	fmt.Fprintf(&k.head, "\tld.param.%s %s, [%s];\n", dtype, register, symbol)
	return register
}

// Pointer declares a parameter that is an address in device memory.
func (k *Kernel) Pointer(name string) Addr { return Addr{k, k.declare(name, "u64", b64)} }

// Uint declares a parameter that is a 32-bit integer.
func (k *Kernel) Uint(name string) Int { return Int{k, k.declare(name, "u32", b32)} }

// Number declares a parameter that is a float32.
func (k *Kernel) Number(name string) Float { return Float{k, k.declare(name, "f32", f32)} }

// vector is the text of several registers as one operand.
func vector(registers []string) string { return "{" + strings.Join(registers, ", ") + "}" }

// at is the text of an address.
func at(base string, offset int) string {
	if offset == 0 {
		return "[" + base + "]"
	}
	return fmt.Sprintf("[%s+%d]", base, offset)
}
