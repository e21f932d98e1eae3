package ref

import (
	"cmp"
	"math"
	"slices"

	"github.com/atelier-go/atelier/compute"
)

// mergeTokens merges, in each sample, the sources that are most like a destination into it.
func (f *frame[T]) mergeTokens(op compute.MergeTokens, y, rows compute.Value) {
	x, out, to := f.value(op.X), f.value(y), f.ids(rows)
	samples, channels, kept := f.shape(y)[0], f.shape(y)[2], f.shape(y)[1]
	tokens := op.Height * op.Width
	for n := range samples {
		mergeSample(op, x[n*tokens*channels:][:tokens*channels], out[n*kept*channels:][:kept*channels], to[n*tokens:][:tokens], channels)
		for t := range tokens {
			to[n*tokens+t] += int32(n * kept)
		}
	}
}

// mergeSample does it in one sample, whose rows it counts from 0.
func mergeSample[T number](op compute.MergeTokens, x, out []T, to []int32, channels int) {
	token := func(t int) []T { return x[t*channels:][:channels] }
	sources, destinations := op.Sources(), op.Destinations()
	type match struct {
		source, destination int
		cosine              float64
	}
	var matches []match
	for _, s := range sources {
		best := match{s, 0, math.Inf(-1)}
		for _, d := range destinations {
			if c := cosine(token(s), token(d)); c > best.cosine {
				best.destination, best.cosine = d, c
			}
		}
		matches = append(matches, best)
	}
	slices.SortStableFunc(matches, func(a, b match) int { return cmp.Compare(b.cosine, a.cosine) })
	merged, stay := matches[:op.Merged], matches[op.Merged:]
	slices.SortFunc(stay, func(a, b match) int { return cmp.Compare(a.source, b.source) })
	for row, m := range stay {
		to[m.source] = int32(row)
	}
	for i, d := range destinations {
		to[d] = int32(len(stay) + i)
	}
	for _, m := range merged {
		to[m.source] = to[m.destination]
	}
	sums, counts := make([]float64, len(out)), make([]float64, len(out)/channels)
	for t, row := range to {
		counts[row]++
		for c, v := range token(t) {
			sums[int(row)*channels+c] += float64(v)
		}
	}
	for i, sum := range sums {
		out[i] = T(sum / counts[i/channels])
	}
}

// cosine is that of the angle between two tokens, 0 where one is zero.
func cosine[T number](a, b []T) float64 {
	var product, aa, bb float64
	for i := range a {
		product += float64(a[i]) * float64(b[i])
		aa += float64(a[i]) * float64(a[i])
		bb += float64(b[i]) * float64(b[i])
	}
	if aa == 0 || bb == 0 {
		return 0
	}
	return product / math.Sqrt(aa*bb)
}
