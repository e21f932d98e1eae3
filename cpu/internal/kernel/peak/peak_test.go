package peak

import (
	"testing"
	"time"

	"github.com/atelier-go/atelier/cpu/internal/isa"
)

// A wider set must not be slower than a narrower one by more than noise, and no processor does
// 10¹² operations a second on one core with these instructions, nor fewer than 10⁷.
func TestBurn(t *testing.T) {
	for _, set := range isa.Sets() {
		flops, seconds := Burn(set, 5*time.Millisecond)
		rate := flops / seconds
		t.Logf("%v: %.1f GFLOP/s on one core", set, rate/1e9)
		if !(rate > 1e7 && rate < 1e12) {
			t.Errorf("%v: %g FLOP/s is not plausible", set, rate)
		}
	}
}
