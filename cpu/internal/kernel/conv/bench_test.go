package conv

import (
	"fmt"
	"testing"
	"time"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu/internal/isa"
	"github.com/atelier-go/atelier/cpu/internal/kernel/gemm"
)

// BenchmarkConv runs Stable Diffusion's 3×3 convolutions at 512×512: the UNet's with batch 2, the VAE
// decoder's with batch 1. GFLOP/s counts the arithmetic of the direct algorithm in the fastest iteration.
func BenchmarkConv(b *testing.B) {
	down := func(n, size, c int) Config {
		cfg := same(n, size, size, c, 0, c)
		cfg.Stride = 2
		return cfg
	}
	for _, set := range isa.Sets()[min(1, len(isa.Sets())-1):] {
		for _, cfg := range []Config{
			same(2, 64, 64, 320, 0, 320), same(2, 64, 64, 320, 320, 320), same(2, 64, 64, 640, 320, 320),
			same(2, 32, 32, 320, 0, 640), same(2, 32, 32, 640, 0, 640), same(2, 32, 32, 640, 320, 640), same(2, 32, 32, 640, 640, 640), same(2, 32, 32, 1280, 640, 640),
			same(2, 16, 16, 640, 0, 1280), same(2, 16, 16, 1280, 0, 1280), same(2, 16, 16, 1280, 640, 1280), same(2, 16, 16, 1280, 1280, 1280),
			same(2, 8, 8, 1280, 0, 1280), same(2, 8, 8, 1280, 1280, 1280),
			resized(same(2, 8, 8, 1280, 0, 1280), 16, 16), resized(same(2, 16, 16, 1280, 0, 1280), 32, 32), resized(same(2, 32, 32, 640, 0, 640), 64, 64),
			down(2, 64, 320), down(2, 32, 640), down(2, 16, 1280), same(2, 64, 64, 4, 0, 320), same(2, 64, 64, 320, 0, 4),
			same(1, 64, 64, 512, 0, 512), same(1, 128, 128, 512, 0, 512),
			same(1, 256, 256, 512, 0, 256), same(1, 256, 256, 256, 0, 256),
			same(1, 512, 512, 256, 0, 128), same(1, 512, 512, 128, 0, 128), same(1, 512, 512, 128, 0, 3),
			resized(same(1, 64, 64, 512, 0, 512), 128, 128), resized(same(1, 128, 128, 512, 0, 512), 256, 256), resized(same(1, 256, 256, 256, 0, 256), 512, 512),
		} {
			for _, workers := range []int{1, 2} {
				h, _ := cfg.Output()
				cfg.Workers, cfg.Fixed = workers, gemm.For(set).HasBF16()
				if cfg.Fixed && Choose(cfg) == Direct {
					continue // adds nothing there
				}
				name := fmt.Sprintf("set=%v/n=%d/h=%d/out=%d/cin=%d+%d/cout=%d/alg=%v/workers=%d", set, cfg.N, cfg.H, h, cfg.C1, cfg.C2, cfg.Cout, Choose(cfg), workers)
				b.Run(name, func(b *testing.B) {
					C := cfg.C1 + cfg.C2
					w, err := gemm.For(set).Pack(nil, Weights(make([]byte, 2*cfg.Cout*C*9), compute.F16, cfg.Cout, C, 3, 3))
					if err != nil {
						b.Fatal(err)
					}
					p, err := NewPlan(w, cfg)
					if err != nil {
						b.Fatal(err)
					}
					a := &gemm.Args{
						X: huge(cfg.N * cfg.H * cfg.W * cfg.C1), X2: huge(cfg.N * cfg.H * cfg.W * cfg.C2),
						Y: huge(cfg.N * h * h * cfg.Cout), Workspace: huge(p.Need().Workspace),
					}
					scratch := scratches(p.Need(), workers)
					run(p, scratch, a)
					best := time.Duration(1 << 62)
					for b.Loop() {
						start := time.Now()
						run(p, scratch, a)
						best = min(best, time.Since(start))
					}
					b.ReportMetric(float64(p.FLOPs())/float64(best.Nanoseconds()), "GFLOP/s")
					b.ReportMetric(float64(best.Microseconds())/1000, "ms")
				})
			}
		}
	}
}
