package cpu

import (
	"cmp"
	"math"
	"slices"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu/internal/kernel/gemm"
)

// mergedAtOnce is how many sources are compared with all destinations at once, and with that the workspace.
const mergedAtOnce = 1024

// merger merges the tokens of one sample after the other. Its workspace holds directions of tokens, destinations first, the cosines of some
// sources with all destinations, and the greatest of each source.
type merger struct {
	op                    compute.MergeTokens
	channels, kept        int
	sources, destinations []int
	order                 []int // numbers of sources, most similar first

	x, out                       []float32
	to                           []int32
	directions, cosines, closest []float32
	workspace                    []float32 // of the products
}

func (c *compiler) mergeTokens(op compute.MergeTokens, out []compute.Value) (lowered, error) {
	shape := c.program.Shape(out[0])
	m := &merger{op: op, channels: shape[2], kept: shape[1], sources: op.Sources(), destinations: op.Destinations()}
	m.order = make([]int, len(m.sources))
	chunks, need, err := m.products(c)
	if err != nil {
		return lowered{}, err
	}
	directions, cosines := op.Height*op.Width*m.channels, min(mergedAtOnce, len(m.sources))*len(m.destinations)
	products := need.Workspace
	need.Workspace += directions + cosines + len(m.sources)
	return lowered{need: need, bind: func(b *binding) (step, error) {
		xs, ys, rows, workspace := b.place(op.X), b.place(out[0]), b.place(out[1]), b.workspace
		prepare := func() {
			m.x, m.out, m.to = xs.f32(), ys.f32(), rows.i32()
			w := workspace.f32()
			m.directions, w = w[:directions], w[directions:]
			m.cosines, w = w[:cosines], w[cosines:]
			m.closest, m.workspace = w[:len(m.sources)], w[len(m.sources):][:products]
		}
		var all []phase
		for n := range shape[0] {
			all = append(all, m.phases(b, n, chunks)...)
		}
		return step{prepare, all}, nil
	}}, nil
}

// products plans the cosines of each chunk of sources.
func (m *merger) products(c *compiler) (plans []*gemm.MatMul, need gemm.Need, err error) {
	for first := 0; first < len(m.sources); first += mergedAtOnce {
		plan, err := gemm.NewMatMul(c.kernel, gemm.MatMulConfig{
			M: min(mergedAtOnce, len(m.sources)-first), N: len(m.destinations), K: m.channels, TransposeB: true, Scale: 1, Workers: len(c.device.scratch),
		})
		if err != nil {
			return nil, need, err
		}
		plans, need = append(plans, plan), need.Max(plan.Need())
	}
	return plans, need, nil
}

// phases are those of sample n.
func (m *merger) phases(b *binding, n int, chunks []*gemm.MatMul) []phase {
	all := each(m.op.Height*m.op.Width, 64, func(from, to int) { m.direct(n, from, to) })
	width := len(m.destinations)
	for i, plan := range chunks {
		first := i * mergedAtOnce
		args := new(gemm.Args)
		all = append(all, phase{1, func(int, int) {
			d := m.directions
			*args = gemm.Args{X: d[(width+first)*m.channels:], W: d[:width*m.channels], Y: m.cosines, Workspace: m.workspace}
		}})
		all = append(all, phases(plan, func(phase, task, worker int) { plan.Do(phase, task, b.device.scratch[worker], args) })...)
		all = append(all, each(min(mergedAtOnce, len(m.sources)-first), 64, func(from, to int) { m.match(n, first, from, to) })...)
	}
	all = append(all, phase{1, func(int, int) { m.choose(n) }})
	return append(all, each(m.kept, 64, func(from, to int) { m.average(n, from, to) })...)
}

// direct writes the directions of some tokens: those of the destinations, then those of the sources.
func (m *merger) direct(n, from, to int) {
	tokens := m.op.Height * m.op.Width
	for i := from; i < to; i++ {
		t := 0
		if i < len(m.destinations) {
			t = m.destinations[i]
		} else {
			t = m.sources[i-len(m.destinations)]
		}
		x, y := m.x[(n*tokens+t)*m.channels:][:m.channels], m.directions[i*m.channels:][:m.channels]
		sum := 0.0
		for _, v := range x {
			sum += float64(v) * float64(v)
		}
		factor := float32(0)
		if sum > 0 {
			factor = float32(1 / math.Sqrt(sum))
		}
		for c, v := range x {
			y[c] = factor * v
		}
	}
}

// match finds the closest destination of some sources of a chunk, and leaves its number where its row will be.
func (m *merger) match(n, first, from, to int) {
	tokens, width := m.op.Height*m.op.Width, len(m.destinations)
	for i := from; i < to; i++ {
		best := 0
		cosines := m.cosines[i*width:][:width]
		for d, c := range cosines {
			if c > cosines[best] {
				best = d
			}
		}
		m.closest[first+i] = cosines[best]
		m.to[n*tokens+m.sources[first+i]] = int32(best)
	}
}

// choose merges the sources most like their destinations, and gives every token its row.
func (m *merger) choose(n int) {
	for i := range m.order {
		m.order[i] = i
	}
	slices.SortFunc(m.order, func(a, b int) int {
		return cmp.Or(cmp.Compare(m.closest[b], m.closest[a]), cmp.Compare(a, b))
	})
	slices.Sort(m.order[m.op.Merged:])
	to, base, stay := m.to[n*m.op.Height*m.op.Width:], n*m.kept, len(m.sources)-m.op.Merged
	for i, d := range m.destinations {
		to[d] = int32(base + stay + i)
	}
	for _, s := range m.order[:m.op.Merged] {
		to[m.sources[s]] += int32(base + stay)
	}
	for row, s := range m.order[m.op.Merged:] {
		to[m.sources[s]] = int32(base + row)
	}
}

// average makes some rows of the result.
func (m *merger) average(n, from, to int) {
	tokens := m.op.Height * m.op.Width
	out := m.out[(n*m.kept+from)*m.channels:][:(to-from)*m.channels]
	clear(out)
	var counts [64]float32
	for t, row := range m.to[n*tokens:][:tokens] {
		r := int(row) - n*m.kept - from
		if r < 0 || r >= to-from {
			continue
		}
		counts[r]++
		y := out[r*m.channels:][:m.channels]
		for c, v := range m.x[(n*tokens+t)*m.channels:][:m.channels] {
			y[c] += v
		}
	}
	for i := range out {
		out[i] /= counts[i/m.channels]
	}
}
