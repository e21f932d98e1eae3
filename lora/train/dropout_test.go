package train

import (
	"math"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/lora"
)

// TestDropout counts what is dropped of 400 modules of rank 50.
func TestDropout(t *testing.T) {
	modules := make([]module, 400)
	for i := range modules {
		modules[i].Down.Shape = compute.Shape{50, 3}
	}
	if all := dropRanks(lora.Network{}, modules, 2, 1, stream(1)); all != nil {
		t.Error("without dropout there are masks")
	}
	all := dropRanks(lora.Network{RankDropout: 0.2, ModuleDropout: 0.1}, modules, 2, 1, stream(1))
	skipped, dropped := 0, 0
	for _, ranks := range all {
		zeros := 0
		for _, v := range ranks {
			switch v {
			case 0:
				zeros++
			case 1.25:
			default:
				t.Fatalf("a rank is multiplied with %v, want 0 or 1/(1-0.2)", v)
			}
		}
		if zeros == 100 {
			skipped++
			continue
		}
		dropped += zeros
	}
	if rate := float64(skipped) / 400; math.Abs(rate-0.1) > 0.04 {
		t.Errorf("%.3f of the modules are dropped, want 0.1", rate)
	}
	if rate := float64(dropped) / float64(100*(400-skipped)); math.Abs(rate-0.2) > 0.01 {
		t.Errorf("%.3f of the ranks are dropped, want 0.2", rate)
	}
}

// TestDropoutRate counts what network_dropout drops.
func TestDropoutRate(t *testing.T) {
	mask := make([]float32, 1<<17)
	dropout(mask, 0.2, 7)
	dropped := 0
	for _, v := range mask {
		switch v {
		case 0:
			dropped++
		case 1.25:
		default:
			t.Fatalf("a number is multiplied with %v, want 0 or 1/(1-0.2)", v)
		}
	}
	if rate := float64(dropped) / float64(len(mask)); math.Abs(rate-0.2) > 0.005 { // four standard deviations
		t.Errorf("%.4f of the numbers are dropped, want 0.2", rate)
	}
	other := make([]float32, len(mask))
	dropout(other, 0.2, 8)
	same := 0
	for i := range mask {
		if mask[i] == other[i] {
			same++
		}
	}
	if rate := float64(same) / float64(len(mask)); math.Abs(rate-0.68) > 0.006 { // 0.2² + 0.8²
		t.Errorf("masks of two seeds agree in %.4f, want 0.68 as by chance", rate)
	}
}
