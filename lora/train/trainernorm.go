package train

import (
	"fmt"
	"math"
)

// scaleWeightNorms scales factors down where the norm of their module's change exceeds ScaleWeightNorms, m: with
//
//	ρ = min(‖ΔW‖, m)/max(‖ΔW‖, m/2)        ΔW = scale·up·down
//
// both by √ρ where ρ < 1. Moments stay as they are. It costs rank times the number of parameters: at rank 128 seconds.
func (t *Trainer) scaleWeightNorms(u *Update) error {
	limit := t.options.ScaleWeightNorms
	for i := range t.modules {
		m := &t.modules[i]
		down, up := t.factors[2*i], t.factors[2*i+1]
		for _, f := range [...]*factor{down, up} {
			if err := f.now[0].Download(f.parameter); err != nil {
				return fmt.Errorf("lora: %s: %w", f.name, err)
			}
		}
		norm := math.Abs(m.Scale()) * productNorm(up.parameter.F32, down.parameter.F32, t.gram[:m.Rank()*m.Rank()])
		ratio := 1.0
		if norm > limit {
			ratio = limit / norm
			u.KeysScaled++
			for _, f := range [...]*factor{down, up} {
				for j, v := range f.parameter.F32 {
					f.parameter.F32[j] = float32(float64(v) * math.Sqrt(ratio))
				}
				if err := f.now[0].Upload(f.parameter); err != nil {
					return fmt.Errorf("lora: %s: %w", f.name, err)
				}
			}
		}
		u.AverageKeyNorm += norm * ratio / float64(len(t.modules))
		u.MaxKeyNorm = max(u.MaxKeyNorm, norm*ratio)
	}
	return nil
}

// productNorm is the Frobenius norm of up·down, [out,r] and [r,in], which is never made:
//
//	‖UD‖² = tr(UᵀU·DDᵀ) = Σᵢⱼ (UᵀU)ᵢⱼ·(DDᵀ)ᵢⱼ
//
// The scratch is r² long.
func productNorm(up, down []float32, gram []float64) float64 {
	r := int(math.Sqrt(float64(len(gram))))
	clear(gram)
	for at := 0; at < len(up); at += r {
		row := up[at:][:r]
		for i, u := range row {
			for j := range i + 1 {
				gram[i*r+j] += float64(u) * float64(row[j])
			}
		}
	}
	columns := len(down) / r
	squares := 0.0
	for i := range r {
		a := down[i*columns:][:columns]
		for j := range i + 1 {
			dot := 0.0
			for k, v := range down[j*columns:][:columns] {
				dot += float64(a[k]) * float64(v)
			}
			if j < i {
				dot *= 2 // the matrices are symmetric
			}
			squares += gram[i*r+j] * dot
		}
	}
	return math.Sqrt(max(0, squares))
}
