package ptx

import "fmt"

// Addr is a register with an address in device memory.
type Addr struct {
	k    *Kernel
	name string
}

// Index is the address of element i of those of so many bytes that begin here.
func (a Addr) Index(i Int, bytes int) Addr {
	return Addr{a.k, a.k.to(b64, "mad.wide.u32", i.name, fmt.Sprint(bytes), a.name)}
}

// Plus is the address so many bytes further.
func (a Addr) Plus(bytes int) Addr {
	return Addr{a.k, a.k.to(b64, "add.s64", a.name, fmt.Sprint(bytes))}
}

// Advance moves the register so many bytes further.
func (a Addr) Advance(bytes int) { a.k.op("add.s64", a.name, a.name, fmt.Sprint(bytes)) }

// ChooseAddr is yes where the predicate holds and no elsewhere.
func (p Pred) ChooseAddr(yes, no Addr) Addr {
	return Addr{p.k, p.k.to(b64, "selp.b64", yes.name, no.name, p.name)}
}

// many is ".v4" for four registers at once, "" for one.
func many(n int) string {
	if n == 1 {
		return ""
	}
	return fmt.Sprintf(".v%d", n)
}

// one is the text of an operand of one or several registers.
func one(registers []string) string {
	if len(registers) == 1 {
		return registers[0]
	}
	return vector(registers)
}

func (k *Kernel) fresh(c class, n int) []string {
	registers := make([]string, n)
	for i := range registers {
		registers[i] = k.register(c)
	}
	return registers
}

func ints(k *Kernel, registers []string) []Int {
	is := make([]Int, len(registers))
	for i, r := range registers {
		is[i] = Int{k, r}
	}
	return is
}

func floats(k *Kernel, registers []string) []Float {
	fs := make([]Float, len(registers))
	for i, r := range registers {
		fs[i] = Float{k, r}
	}
	return fs
}

func intNames(is []Int) []string {
	names := make([]string, len(is))
	for i, v := range is {
		names[i] = v.name
	}
	return names
}

func floatNames(fs []Float) []string {
	names := make([]string, len(fs))
	for i, v := range fs {
		names[i] = v.name
	}
	return names
}

// LoadInts loads n words, 1, 2 or 4, from so many bytes behind an address, which is a multiple of what is loaded.
func (k *Kernel) LoadInts(a Addr, offset, n int) []Int {
	registers := k.fresh(b32, n)
	k.op("ld.global"+many(n)+".b32", one(registers), at(a.name, offset))
	return ints(k, registers)
}

// StoreInts stores 1, 2 or 4 words.
func (k *Kernel) StoreInts(a Addr, offset int, words ...Int) {
	k.op("st.global"+many(len(words))+".b32", at(a.name, offset), one(intNames(words)))
}

// LoadFloats loads n numbers, 1, 2 or 4.
func (k *Kernel) LoadFloats(a Addr, offset, n int) []Float {
	registers := k.fresh(f32, n)
	k.op("ld.global"+many(n)+".f32", one(registers), at(a.name, offset))
	return floats(k, registers)
}

// StoreFloats stores 1, 2 or 4 numbers.
func (k *Kernel) StoreFloats(a Addr, offset int, numbers ...Float) {
	k.op("st.global"+many(len(numbers))+".f32", at(a.name, offset), one(floatNames(numbers)))
}

// LoadHalf loads a half.
func (k *Kernel) LoadHalf(a Addr, offset int) Half {
	return Half{k, k.to(b16, "ld.global.b16", at(a.name, offset))}
}

// StoreHalf stores a half.
func (k *Kernel) StoreHalf(a Addr, offset int, h Half) {
	k.op("st.global.b16", at(a.name, offset), h.name)
}

// Shared is the address of the block's shared memory. Its size is the launch's.
func (k *Kernel) Shared() Int {
	k.shared = true
	return Int{k, k.to(b32, "mov.u32", "smem")}
}

// LoadShared loads a number from so many bytes behind an address in shared memory.
func (k *Kernel) LoadShared(a Int, offset int) Float { return k.LoadSharedMany(a, offset, 1)[0] }

// LoadSharedMany loads n numbers, 1, 2 or 4, from an address that is a multiple of their size.
func (k *Kernel) LoadSharedMany(a Int, offset, n int) []Float {
	registers := k.fresh(f32, n)
	k.op("ld.shared"+many(n)+".f32", one(registers), at(a.name, offset))
	return floats(k, registers)
}

// StoreShared stores a number in shared memory.
func (k *Kernel) StoreShared(a Int, offset int, v Float) {
	k.op("st.shared.f32", at(a.name, offset), v.name)
}

// CopyAsync begins to copy 16 bytes from device to shared memory; of these only the first bytes, 0 or 16, are read and the rest is
// zero. What was begun since the last [Kernel.Commit] is a group.
func (k *Kernel) CopyAsync(to Int, from Addr, bytes Int) { k.CopyAsyncAt(to, 0, from, 0, bytes) }

// CopyAsyncAt is CopyAsync to and from so many bytes further.
func (k *Kernel) CopyAsyncAt(to Int, toOffset int, from Addr, fromOffset int, bytes Int) {
	k.op("cp.async.cg.shared.global", at(to.name, toOffset), at(from.name, fromOffset), "16", bytes.name)
}

// Commit ends a group of copies.
func (k *Kernel) Commit() { k.op("cp.async.commit_group") }

// Await waits until no more than n of this thread's groups are under way. Other threads see them after a [Kernel.Barrier].
func (k *Kernel) Await(n int) { k.op("cp.async.wait_group", fmt.Sprint(n)) }
