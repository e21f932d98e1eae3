package lora_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/atelier-go/atelier/lora/internal/loratest"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/weights"
)

// zeros is a source of parameters of one type that are all 0.
type zeros struct {
	shapes map[string]compute.Shape
	dtype  compute.DType
	data   []byte
}

func (z zeros) ParamType(name string) (compute.Type, error) {
	return compute.Type{DType: z.dtype, Shape: z.shapes[name]}, nil
}

func (z zeros) ParamData(name string) ([]byte, error) {
	t, _ := z.ParamType(name)
	return z.data[:t.Bytes()], nil
}

// BenchmarkMerge merges an adapter of every attention (attention) or of every weight (all) into a UNet of full size, by
// two packers as the cpu device has them.
func BenchmarkMerge(b *testing.B) {
	targets := loratest.SD15Targets(b)
	const rank = 16
	for _, c := range []struct {
		name    string
		targets func(t lora.Target) bool
	}{
		{"attention", func(t lora.Target) bool { return strings.Contains(t.Name, ".attentions.") }},
		{"all", func(t lora.Target) bool { return true }},
	} {
		b.Run("targets="+c.name, func(b *testing.B) {
			src := zeros{shapes: make(map[string]compute.Shape), dtype: compute.F16}
			a := &lora.Adapter{}
			var names []string
			elements := 0
			for _, t := range targets.All() {
				if t.Kind != weights.KindUNet || !c.targets(t) {
					continue
				}
				src.shapes[t.Param()] = t.Shape
				src.data = make([]byte, max(len(src.data), 2*t.Shape.Elements()))
				a.Modules = append(a.Modules, loratest.RandomModule(loratest.Rand(), t, rank))
				names = append(names, t.Param())
				elements += t.Shape.Elements()
			}
			merged, err := lora.Merge(src, weights.KindUNet, lora.MergeOptions{}, lora.Applied{Adapter: a, Strength: lora.Strength{UNet: 0.8}})
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				queue := make(chan string)
				var packers sync.WaitGroup
				for range 2 {
					packers.Go(func() {
						for name := range queue {
							if _, err := merged.ParamData(name); err != nil {
								b.Error(err)
							}
						}
					})
				}
				for _, name := range names {
					queue <- name
				}
				close(queue)
				packers.Wait()
			}
			b.ReportMetric(float64(elements)/1e6, "Mweights")
			b.ReportMetric(float64(2*rank*elements)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}
