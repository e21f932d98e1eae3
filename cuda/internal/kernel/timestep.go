package kernel

import (
	"math"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// TimestepEmbedding has the parameters y, timesteps and frequencies, all float32, the number of elements of y, and half of a row's: its
// sines, or its cosines where these come first, are followed by the others.
type TimestepEmbedding struct{ CosinesFirst bool }

// Kernel is compute.TimestepEmbedding.
func (e TimestepEmbedding) Kernel() *ptx.Kernel {
	name := "timesteps_sin_cos"
	if e.CosinesFirst {
		name = "timesteps_cos_sin"
	}
	k := ptx.New(name, elementThreads)
	y, timesteps, frequencies := declare(k, "y", compute.F32), declare(k, "timesteps", compute.F32), declare(k, "frequencies", compute.F32)
	elements, half := k.Uint("elements"), k.Uint("half")
	one(k, elements, func(at ptx.Int) {
		part := at.Over(half) // of all rows: first halves are even
		frequency := frequencies.load(at.Mod(half), 1)[0]
		angle := timesteps.load(part.Over(2), 1)[0].Times(frequency)
		quarter := part.Mod(2)
		if e.CosinesFirst {
			quarter = quarter.Xor(1)
		}
		y.store(at, []ptx.Float{sine(k, angle, quarter)})
	})
	return k
}

// sine is that of an angle and so many quarters of a turn, for angles to 10⁵: what exceeds whole quarters is found with π/2 in three
// parts, so that no digit is lost, and polynomials of sine and cosine around 0 do the rest.
func sine(k *ptx.Kernel, angle ptx.Float, quarters ptx.Int) ptx.Float {
	const magic = 3 << 22 // added to a number it leaves the nearest integer in the last bits
	shifted := angle.TimesPlus(2/math.Pi, float64(magic))
	turns := k.Float(0.0).Minus(shifted.Minus(float64(magic)))
	r := angle
	for _, part := range []float64{1.5707855225, 1.0804334124e-05, 6.0770999344e-11} {
		r = turns.TimesPlus(part, r)
	}
	quarters = quarters.Plus(shifted.Bits())
	square := r.Times(r)
	sine := polynomial(k, square, -1.0/6, 1.0/120, -1.0/5040, 1.0/362880)
	cosine := polynomial(k, square, 1, -1.0/2, 1.0/24, -1.0/720, 1.0/40320)
	v := quarters.Mod(2).Equal(0).ChooseFloat(sine.Times(square).TimesPlus(r, r), cosine)
	return quarters.And(2).Equal(0).ChooseFloat(v, k.Float(0.0).Minus(v))
}
