package gemm

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu/internal/isa"
)

// run performs a plan with as many workers as there are scratches.
func run(p *Plan, scratch []*Scratch, a *Args) {
	for phase := range p.Phases() {
		if len(scratch) > 1 {
			share(p, phase, scratch, a)
			continue
		}
		for task := range p.Tasks(phase) {
			p.Do(phase, task, scratch[0], a)
		}
	}
}

// share spreads one phase over workers.
func share(p *Plan, phase int, scratch []*Scratch, a *Args) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for _, s := range scratch {
		wg.Go(func() {
			for task := int(next.Add(1)) - 1; task < p.Tasks(phase); task = int(next.Add(1)) - 1 {
				p.Do(phase, task, s, a)
			}
		})
	}
	wg.Wait()
}

func scratches(n Need, workers int) []*Scratch {
	s := make([]*Scratch, workers)
	for i := range s {
		s[i] = NewScratch(n)
	}
	return s
}

// BenchmarkPeak is the rate the other benchmarks are measured against.
func BenchmarkPeak(b *testing.B) {
	for _, set := range isa.Sets() {
		for _, bf16 := range []bool{false, true} {
			k := For(set)
			if bf16 && !k.HasBF16() {
				continue
			}
			for _, workers := range []int{1, 2} {
				b.Run(fmt.Sprintf("set=%v/bf16=%v/workers=%d", set, bf16, workers), func(b *testing.B) {
					best := 0.0
					for b.Loop() {
						start := time.Now()
						var flops atomic.Int64
						var wg sync.WaitGroup
						for range workers {
							wg.Go(func() { flops.Add(int64(k.Spin(1e6, bf16))) })
						}
						wg.Wait()
						best = max(best, float64(flops.Load())/float64(time.Since(start).Nanoseconds()))
					}
					b.ReportMetric(best, "GFLOP/s")
				})
			}
		}
	}
}

// BenchmarkLinear runs Stable Diffusion's linear layers at 512×512, batch 2. GFLOP/s is that of the
// fastest iteration.
func BenchmarkLinear(b *testing.B) {
	for _, set := range isa.Sets() {
		for _, pairs := range []bool{false, true} {
			if pairs != (set == isa.AVX512BF16) { // the bfloat16 set adds only that kernel
				continue
			}
			for _, s := range []struct{ m, k, n int }{
				// tokens × channels of the UNet's transformers, then of the text encoder
				{8192, 320, 320}, {8192, 320, 2560}, {8192, 1280, 320},
				{2048, 640, 640}, {2048, 640, 5120}, {2048, 2560, 640},
				{512, 1280, 1280}, {512, 1280, 10240}, {512, 5120, 1280},
				{128, 1280, 1280}, {154, 768, 768}, {154, 768, 3072},
			} {
				for _, workers := range []int{1, 2} {
					b.Run(fmt.Sprintf("set=%v/m=%d/k=%d/n=%d/dtype=F16/workers=%d", set, s.m, s.k, s.n, workers), func(b *testing.B) {
						mat := Linear(make([]byte, 2*s.n*s.k), compute.F16, s.n, s.k)
						mat.Pairs = pairs
						w, err := For(set).Pack(nil, mat)
						if err != nil {
							b.Fatal(err)
						}
						p, err := NewPlan(w, Config{M: s.m, Workers: workers})
						if err != nil {
							b.Fatal(err)
						}
						a := &Args{X: huge(s.m * s.k), Y: huge(s.m * s.n), Bias: make([]float32, s.n), Workspace: huge(p.Need().Workspace)}
						scratch := scratches(p.Need(), workers)
						run(p, scratch, a)
						best := time.Duration(1 << 62)
						b.ReportAllocs()
						for b.Loop() {
							start := time.Now()
							run(p, scratch, a)
							best = min(best, time.Since(start))
						}
						b.ReportMetric(float64(p.FLOPs())/float64(best.Nanoseconds()), "GFLOP/s")
					})
				}
			}
		}
	}
}

// BenchmarkPack times the packing of a linear layer's and of a convolution's weights, one panel after the other as they are read.
func BenchmarkPack(b *testing.B) {
	const n, c = 1280, 1280
	for _, set := range isa.Sets() {
		k := For(set)
		data := make([]byte, k.NR*c*9*4)
		for _, s := range []struct {
			name string
			m    Matrix
		}{
			{"linear", Linear(data, compute.F16, n, c)},
			{"pairs", Matrix{DType: compute.F16, N: n, Taps: 1, C: c, StrideN: c, StrideC: 1, Pairs: true}},
			{"conv", Matrix{DType: compute.F16, N: n, Taps: 9, C: c, StrideN: 9 * c, StrideT: 1, StrideC: 9}},
			{"float32", Linear(data, compute.F32, n, c)},
		} {
			if s.m.Pairs && !k.HasBF16() {
				continue
			}
			b.Run(fmt.Sprintf("set=%v/layout=%s", set, s.name), func(b *testing.B) {
				panel := s.m.Rows(data, k.NR)
				size := k.PackedSize(panel)
				dst, spare := make([]byte, k.PackedSize(s.m)), make([]float32, k.PackSpare())
				b.SetBytes(int64(s.m.N * s.m.K() * s.m.DType.Size()))
				for b.Loop() {
					for at := 0; at < len(dst); at += size {
						if err := k.PackInto(dst[at:][:size], panel, spare); err != nil {
							b.Fatal(err)
						}
					}
				}
			})
		}
	}
}
