package dataset

import "testing"

func TestCountSteps(t *testing.T) {
	for _, c := range []struct {
		name                                    string
		batches, accumulation, epochs, maxSteps int
		want                                    Steps
	}{
		{"50", 108, 1, 12, 0, Steps{108, 108, 12, 1296, 108, ""}},
		{"51: accumulation 4", 108, 4, 12, 0, Steps{108, 27, 12, 324, 108, ""}},
		{"52: three buckets", 28, 1, 12, 0, Steps{28, 28, 12, 336, 28, ""}},
		{"52: the GUI's 324", 28, 1, 0, 324, Steps{28, 28, 12, 324, 16, ""}},
		{"55: 1600 steps", 108, 1, 0, 1600, Steps{108, 108, 15, 1600, 88, ""}},
		{"55: nothing given", 108, 0, 0, 0, Steps{108, 108, 15, 1600, 88, ""}},
		{"55: epochs win", 108, 1, 12, 1600, Steps{108, 108, 12, 1296, 108, ""}},
		{"56: groups of 4, 4, 2", 10, 4, 1, 0, Steps{10, 3, 1, 3, 10, ""}},
		{"56: two of three", 10, 4, 0, 2, Steps{10, 3, 1, 2, 8, ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := CountSteps(c.batches, c.accumulation, c.epochs, c.maxSteps)
			if got.How == "" {
				t.Error("no word on where the number comes from")
			}
			if got.How = ""; got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}
