package train

import (
	"slices"
	"testing"
)

func TestValidationTimesteps(t *testing.T) {
	for _, c := range []struct {
		noise Noise
		want  []int
	}{
		{Noise{}, []int{200, 400, 600, 800}}, // case 91
		{Noise{MinTimestep: 100, MaxTimestep: 903}, []int{260, 421, 581, 742}},
		{Noise{MinTimestep: 5, MaxTimestep: 5}, []int{5, 5, 5, 5}},
	} {
		if got := c.noise.validationTimesteps(); !slices.Equal(got, c.want) {
			t.Errorf("%+v: timesteps are %v, want %v", c.noise, got, c.want)
		}
	}
}
