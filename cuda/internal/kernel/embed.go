package kernel

import (
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// Embed is y[i] = Table[id[i]] + Position[i mod length], rows of so many channels each.
type Embed struct {
	Table, Y compute.DType
	Position bool // of Table's type
}

// Kernel has the parameters y, ids (int32), table, its number of rows, the number of elements of y, channels, and if it has positions
// these and the length. An id outside the table reads its last row; CheckIDs tells.
func (e Embed) Kernel() *ptx.Kernel {
	name := "embed" + suffix(e.Table) + suffix(e.Y)
	if e.Position {
		name += "_position"
	}
	k := ptx.New(name, elementThreads)
	y, ids, table := declare(k, "y", e.Y), k.Pointer("ids"), declare(k, "table", e.Table)
	rows, elements, channels := k.Uint("rows"), k.Uint("elements"), k.Uint("channels")
	var position array
	var length ptx.Int
	if e.Position {
		position, length = declare(k, "position", e.Table), k.Uint("length")
	}
	one(k, elements, func(at ptx.Int) {
		i, c := at.Over(channels), at.Mod(channels)
		id := k.LoadInts(ids.Index(i, 4), 0, 1)[0].Min(rows.Minus(1))
		v := table.load(id.TimesPlus(channels, c), 1)[0]
		if e.Position {
			v = v.Plus(position.load(i.Mod(length).TimesPlus(channels, c), 1)[0])
		}
		y.store(at, []ptx.Float{v})
	})
	return k
}

// CheckIDs has the parameters report, ids (int32), how many there are, and the number of rows of their table. It is launched with one
// block of 32 threads and reports, in two words, the place of the first id that is outside and that id; without one the place is how
// many there are.
func CheckIDs() *ptx.Kernel {
	k := ptx.New("check_ids", 32)
	report, ids, n, rows := k.Pointer("report"), k.Pointer("ids"), k.Uint("n"), k.Uint("rows")
	id := func(i ptx.Int) ptx.Int { return k.LoadInts(ids.Index(i, 4), 0, 1)[0] }
	first := k.Int(n)
	k.For(k.Thread(), n, 32, func(i ptx.Int) {
		k.If(id(i).AtLeast(rows), func() { first.Set(first.Min(i)) })
	})
	for mask := 16; mask > 0; mask /= 2 {
		first.Set(first.Min(first.Exchanged(mask)))
	}
	k.If(k.Thread().Equal(0), func() {
		wrong := k.Int(0)
		k.If(first.Less(n), func() { wrong.Set(id(first)) })
		k.StoreInts(report, 0, first, wrong)
	})
	return k
}
