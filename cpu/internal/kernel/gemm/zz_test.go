package gemm

import (
	"fmt"
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu/internal/isa"
	"testing"
	"time"
)

func TestZZ(t *testing.T) {
	for _, pairs := range []bool{false, true} {
		for _, v := range []struct {
			m, k, n int
			gate    bool
		}{
			{8192, 320, 320, false}, {8192, 320, 2560, true}, {8192, 320, 2560, false}, {8192, 1280, 320, false}, {2048, 640, 640, false}, {2048, 640, 5120, true}, {2048, 640, 5120, false}, {2048, 2560, 640, false}, {512, 1280, 1280, false},
			{512, 1280, 10240, true}, {512, 1280, 10240, false}, {512, 5120, 1280, false}, {128, 1280, 1280, false}, {154, 768, 3072, false}} {
			mm := Linear(make([]byte, v.n*v.k*2), compute.F16, v.n, v.k, false)
			mm.Pairs = pairs
			set := isa.AVX512
			if pairs {
				set = isa.AVX512BF16
			}
			w, _ := For(set).Pack(nil, mm)
			out := fmt.Sprint(pairs, v)
			for _, wk := range []int{1, 2} {
				c := Config{M: v.m, Workers: wk}
				if v.gate {
					c.Gate = func(d, a, g []float32) {}
				}
				p, err := NewPlan(w, c)
				if err != nil {
					t.Fatal(err)
				}
				a := &Args{X: huge(v.m * (v.k)), Y: huge(v.m * (v.n)), Workspace: huge(p.Need().Workspace)}
				s := scratches(p.Need(), wk)
				best := time.Hour
				for range 8 {
					st := time.Now()
					run(p, s, a)
					best = min(best, time.Since(st))
				}
				out += fmt.Sprintf(" %.0f", float64(p.FLOPs())/float64(best.Nanoseconds()))
			}
			fmt.Println(out)
		}
	}
}
