package ptx

import "fmt"

// Pred is a register with the answer to a question.
type Pred struct {
	k    *Kernel
	name string
}

// And is whether both hold.
func (p Pred) And(q Pred) Pred { return Pred{p.k, p.k.to(pred, "and.pred", p.name, q.name)} }

// Not is whether it does not hold.
func (p Pred) Not() Pred { return Pred{p.k, p.k.to(pred, "not.pred", p.name)} }

// If does what then writes where the predicate holds.
func (k *Kernel) If(p Pred, then func()) {
	end := k.label()
	k.op("@!"+p.name+" bra", end)
	then()
	k.place(end)
}

// While repeats what body writes as long as the predicate holds that condition writes.
func (k *Kernel) While(condition func() Pred, body func()) {
	start, end := k.label(), k.label()
	k.place(start)
	k.op("@!"+condition().name+" bra", end)
	body()
	k.op("bra", start)
	k.place(end)
}

// Repeat does what body writes, once at least, and again as long as the predicate holds that body returns.
func (k *Kernel) Repeat(body func() Pred) {
	start := k.label()
	k.place(start)
	k.op("@"+body().name+" bra", start)
}

// For counts from a start by a step up to, and without, a limit.
func (k *Kernel) For(start, limit, step any, body func(i Int)) {
	i := k.Int(start)
	k.While(func() Pred { return i.Less(limit) }, func() {
		body(i)
		i.Advance(step)
	})
}

// Barrier makes every thread of the block wait for all others, and what each has written visible to them.
func (k *Kernel) Barrier() { k.op("bar.sync", "0") }

func (k *Kernel) label() string {
	k.labels++
	return fmt.Sprintf("L%d", k.labels)
}

func (k *Kernel) place(label string) { fmt.Fprintf(&k.body, "%s:\n", label) }
