package simgpu

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
)

// Launch is how a kernel is run.
type Launch struct {
	Grid      [3]int
	Shared    int      // bytes of dynamic shared memory
	Arguments []uint64 // the bits of each parameter
	Seed      uint32   // decides the order of blocks and warps
	Off       uint32   // decides by how much approximations are off, which is a card's own and the same in every launch
	Chip      *Chip    // sums matrix products as a chip does; nil sums them in float32, which is faster
	Limit     int      // instructions of a block before it counts as one without end; 0 is fifty million
}

// Stats count what a launch did.
type Stats struct {
	Instructions int // by warps
	Products     int // mma instructions
	Conflicts    int // accesses to shared memory that had to wait for another of the same instruction
	Sectors      int // pieces of 32 bytes of device memory that were moved
	FullSectors  int // how many would have been enough for the bytes that were asked for
}

// block is one that is running.
type block struct {
	kernel   *Kernel
	device   *Device
	launch   Launch
	params   []byte
	index    [3]int
	number   int32 // from 1
	launchID int32
	warps    []*warp
	shared   []byte
	shadow   []sharedGrain
	recent   *allocation // that was looked at last
	epoch    int32
	start    int32 // the epoch in which it began
	stats    Stats
	steps    int
	limit    int
}

// Run launches a kernel and waits for its end. What the kernel must not do is a *Fault.
func (d *Device) Run(k *Kernel, l Launch) (stats Stats, err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *Fault:
			err = r
		default:
			panic(r)
		}
	}()
	params, err := k.pack(l.Arguments)
	if err != nil {
		return Stats{}, err
	}
	if min(l.Grid[0], l.Grid[1], l.Grid[2]) < 1 || l.Grid[1] > 65535 || l.Grid[2] > 65535 {
		return Stats{}, fmt.Errorf("simgpu: %s: a grid of %v blocks, want at least 1 and along the second and third axis at most 65535", k.Name, l.Grid)
	}
	d.launches++
	b := newBlock(d, k, l, params)
	order := rand.New(rand.NewPCG(uint64(l.Seed), 0))
	for _, i := range order.Perm(l.Grid[0] * l.Grid[1] * l.Grid[2]) {
		b.index = [3]int{i % l.Grid[0], i / l.Grid[0] % l.Grid[1], i / l.Grid[0] / l.Grid[1]}
		b.number = int32(i + 1)
		b.run(order)
	}
	return b.stats, nil
}

// pack lays out the bytes of the parameters.
func (k *Kernel) pack(arguments []uint64) ([]byte, error) {
	if len(arguments) != len(k.params) {
		return nil, fmt.Errorf("simgpu: %s has %d parameters, and is given %d", k.Name, len(k.params), len(arguments))
	}
	var bytes []byte
	for i, p := range k.params {
		bytes = append(bytes, make([]byte, p.offset-len(bytes))...)
		if p.size == 8 {
			bytes = binary.LittleEndian.AppendUint64(bytes, arguments[i])
			continue
		}
		if arguments[i]>>32 != 0 {
			return nil, fmt.Errorf("simgpu: %s: argument %d is %#x and its parameter has 32 bits", k.Name, i, arguments[i])
		}
		bytes = binary.LittleEndian.AppendUint32(bytes, uint32(arguments[i]))
	}
	return bytes, nil
}

func newBlock(d *Device, k *Kernel, l Launch, params []byte) *block {
	b := &block{
		kernel: k, device: d, launch: l, params: params, launchID: d.launches,
		shared: make([]byte, l.Shared), shadow: make([]sharedGrain, (l.Shared+15)/16), limit: l.Limit,
	}
	if b.limit == 0 {
		b.limit = 50e6
	}
	for id := range k.Threads / 32 {
		b.warps = append(b.warps, newWarp(b, id))
	}
	return b
}

// run executes the block. Warps take turns of random length in random order; a barrier is passed when all are there.
func (b *block) run(order *rand.Rand) {
	b.epoch++
	b.start, b.steps = b.epoch, 0
	for _, w := range b.warps {
		w.reset()
	}
	ready := make([]*warp, 0, len(b.warps))
	for {
		ready = ready[:0]
		waiting := 0
		for _, w := range b.warps {
			switch {
			case w.waiting:
				waiting++
			case w.live != 0:
				ready = append(ready, w)
			}
		}
		switch {
		case len(ready) > 0:
			ready[order.IntN(len(ready))].run(1 + order.IntN(200))
		case waiting == len(b.warps):
			b.epoch++
			for _, w := range b.warps {
				w.waiting = false
			}
		case waiting == 0:
			return
		default:
			b.stuck()
		}
	}
}

// stuck fails at the barrier that not all warps will reach.
func (b *block) stuck() {
	for _, w := range b.warps {
		if w.waiting {
			w.at.pc--
			w.fail("warps wait here for some that have ended")
		}
	}
}

// count counts an instruction.
func (b *block) count() {
	b.stats.Instructions++
	if b.steps++; b.steps > b.limit {
		b.warps[0].fail("the block does not end within %d instructions", b.limit)
	}
}
