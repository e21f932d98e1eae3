package ref

import (
	"fmt"
	"math"

	"github.com/atelier-go/atelier/compute"
)

// embed is y[n,t,:] = Table[IDs[n,t],:] + Position[t,:].
func (f *frame[T]) embed(op compute.Embed, y compute.Value) error {
	ids, table, position, out := f.ids(op.IDs), f.value(op.Table), f.optional(op.Position), f.value(y)
	vocabulary, length, channels := f.shape(op.Table)[0], f.shape(y)[1], f.shape(y)[2]
	for i, id := range ids {
		if id < 0 || int(id) >= vocabulary {
			return fmt.Errorf("id %d at [%d %d] is outside 0…%d", id, i/length, i%length, vocabulary-1)
		}
		for c := range channels {
			sum := float64(table[int(id)*channels+c])
			if position != nil {
				sum += float64(position[i%length*channels+c])
			}
			out[i*channels+c] = T(sum)
		}
	}
	return nil
}

// timestepEmbedding is [sin(t·f_i)… cos(t·f_i)…], or cosines first, with f_i = exp(-ln(10000)·i/(half-FreqShift)).
func (f *frame[T]) timestepEmbedding(op compute.TimestepEmbedding, y compute.Value) {
	frequencies, half := op.Frequencies(), op.Dim/2
	sines, cosines := 0, half
	if op.FlipSinToCos {
		sines, cosines = half, 0
	}
	for n, t := range f.value(op.Timesteps) {
		row := f.value(y)[n*op.Dim:][:op.Dim]
		for i, frequency := range frequencies {
			angle := float64(float32(t) * frequency)
			row[sines+i], row[cosines+i] = T(math.Sin(angle)), T(math.Cos(angle))
		}
	}
}
