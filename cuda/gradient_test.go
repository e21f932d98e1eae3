package cuda

import (
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/computetest"
	"github.com/atelier-go/atelier/cuda/internal/simdriver"
)

// TestGradientConformance runs what training needs on top of the suite, on a card that is simulated.
func TestGradientConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a simulated card takes a minute")
	}
	const half = 1.0 / 2048
	for precision, roundoff := range map[compute.Precision]float64{compute.PrecisionFP32: 0, compute.PrecisionFP16: half} {
		t.Run(precision.String(), func(t *testing.T) {
			timed(t)
			computetest.Suite{
				Open: opener(Options{Precision: precision}, simdriver.Options{}), OperandRoundoff: roundoff, ValueRoundoff: roundoff, ValueStep: steps[precision], Small: true,
			}.RunGradient(t)
		})
	}
}

// steps are the distances of the smallest numbers.
var steps = map[compute.Precision]float64{compute.PrecisionFP16: 1.0 / (1 << 24)}
