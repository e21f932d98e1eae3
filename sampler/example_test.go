package sampler_test

import (
	"fmt"

	"github.com/atelier-go/atelier/sampler"
)

// The whole run is known beforehand: here with a network that always predicts the same noise.
func Example() {
	name, spacing, err := sampler.Parse("Euler", "Karras")
	if err != nil {
		panic(err)
	}
	plan, err := sampler.New(sampler.Config{Sampler: name, Spacing: spacing, Steps: 4})
	if err != nil {
		panic(err)
	}
	const noise, picture = 0.8, 0.25
	latent := picture + noise*plan.Start.Noise
	for _, e := range plan.Evals {
		fmt.Printf("timestep %6.2f sees %+.3f\n", e.Timestep, e.Input.Slot[0]*latent)
		latent = e.Update[0].Slot[0]*latent + e.Update[0].Model*noise
	}
	fmt.Printf("result %.3f\n", latent)
	// Output:
	// timestep 999.00 sees +0.815
	// timestep 687.15 sees +0.838
	// timestep 145.94 sees +0.555
	// timestep   0.00 sees +0.273
	// result 0.250
}
