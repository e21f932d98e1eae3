package rng

import (
	"math"
	"slices"
	"testing"

	"github.com/atelier-go/atelier/internal/webui"
)

// TestWebUI compares with what AUTOMATIC1111's web UI drew, see testdata/webui.
func TestWebUI(t *testing.T) {
	webui.Test(t, "rng", checkPictures)
	webui.Test(t, "philox", checkPhilox)
	webui.Test(t, "slerp", checkSlerp)
	webui.Test(t, "brownian", checkPaths)
}

// webUISource is the generator that a setting of the web UI names.
func webUISource(name string) func(seed uint64) Source {
	if name == "CPU" {
		return func(seed uint64) Source { return NewTorch(seed) }
	}
	return func(seed uint64) Source { return NewPhilox(seed) }
}

// picturesRecord are the draws of a batch of pictures.
type picturesRecord struct {
	ID              string
	Source          string
	Shape           [3]int
	Seeds, Subseeds []uint64
	Strength        float64      `json:"subseed_strength"`
	FromHeight      int          `json:"seed_resize_from_h"` // pixels
	FromWidth       int          `json:"seed_resize_from_w"`
	Delta           int64        `json:"ensd"`
	Draws           [][]struct { // of each call for each picture
		First, Last []float64
		Sum, SumSq  float64
	}
}

func checkPictures(t *testing.T, r picturesRecord) {
	for i, seed := range r.Seeds {
		n := PictureNoise{
			Source: webUISource(r.Source), Seed: seed, Strength: r.Strength, Delta: r.Delta,
			Channels: r.Shape[0], Height: r.Shape[1], Width: r.Shape[2], FromHeight: r.FromHeight / 8, FromWidth: r.FromWidth / 8,
		}
		if i < len(r.Subseeds) {
			n.Subseed = r.Subseeds[i]
		}
		if r.Subseeds == nil {
			n.Strength = 0
		}
		p, noise := NewPicture(n), make([]float32, r.Shape[0]*r.Shape[1]*r.Shape[2])
		for call, want := range r.Draws {
			p.Normal(noise)
			sum, square := 0.0, 0.0
			for _, v := range noise {
				sum, square = sum+float64(v), square+float64(v)*float64(v)
			}
			w := want[i]
			off := max(math.Abs(sum-w.Sum)/float64(len(noise)), math.Abs(square-w.SumSq)/float64(len(noise)))
			off = max(off, farthest(noise, w.First), farthest(noise[len(noise)-len(w.Last):], w.Last))
			if !(off < 1e-6) {
				t.Errorf("%s: draw %d of picture %d is off by %.2g", r.ID, call, i, off)
			}
		}
	}
}

// farthest is the largest difference between the first values of two lists.
func farthest(got []float32, want []float64) (off float64) {
	for i, w := range want {
		off = max(off, math.Abs(float64(got[i])-w))
	}
	return off
}

func checkPhilox(t *testing.T, r struct {
	ID      string
	Seed    uint64
	Offset  uint32
	Words   [][4]uint32
	Normals []float64
}) {
	for i, want := range r.Words {
		if got := philox4x32([4]uint32{r.Offset, 0, uint32(i), 0}, uint32(r.Seed), uint32(r.Seed>>32)); got != want {
			t.Errorf("%s: words of element %d are %v, want %v", r.ID, i, got, want)
		}
	}
	got := make([]float32, len(r.Normals))
	(&Philox{seed: r.Seed, draw: r.Offset}).Normal(got)
	if off := farthest(got, r.Normals); off > 1e-6 {
		t.Errorf("%s: normals are off by %.2g", r.ID, off)
	}
}

func checkSlerp(t *testing.T, r struct {
	ID        string
	Shape     [3]int
	Strength  float64
	Low, High []float32
	Out       []webui.Number
}) {
	got := slices.Clone(r.Low)
	slerp(got, r.High, r.Strength, r.Shape[0], r.Shape[1], r.Shape[2])
	for i, want := range r.Out {
		off := math.Abs(float64(got[i]) - float64(want))
		if want.Equal(math.NaN()) { // where columns are parallel; noise that is not a number serves nobody
			off = 0 * float64(got[i])
		}
		if !(off <= 2e-6) {
			t.Errorf("%s: element %d is %v, want %v", r.ID, i, got[i], want)
		}
	}
}

// checkPaths compares increments.
func checkPaths(t *testing.T, r struct {
	ID       string
	Source   string
	Seed     uint64
	Seeds    []uint64 // one tree for each picture of a batch
	Shape    []int
	SigmaMin float64 `json:"sigma_min"`
	SigmaMax float64 `json:"sigma_max"`
	Queries  []struct {
		From, To float64
		First    []float64
		All      []float64 // of all pictures
		Sum      *float64
	}
}) {
	seeds := r.Seeds
	if seeds == nil {
		seeds = []uint64{r.Seed}
	}
	n := 1
	for _, side := range r.Shape {
		n *= side
	}
	n /= len(seeds)
	for i, seed := range seeds {
		path, err := NewBrownian(seed, n, r.SigmaMin, r.SigmaMax, webUISource(r.Source))
		if err != nil {
			t.Fatal(err)
		}
		noise := make([]float32, n)
		for k, q := range r.Queries {
			if testing.Short() && n > 1000 && k%8 != 0 {
				continue // of long ones: each takes some twenty draws
			}
			path.Noise(noise, q.From, q.To)
			want := q.First
			if q.All != nil {
				want = q.All[i*n:][:n]
			}
			if off := farthest(noise, want); off > 2e-6 {
				t.Errorf("%s: increment %d of picture %d is off by %.2g", r.ID, k, i, off)
			}
			sum := 0.0
			for _, v := range noise {
				sum += float64(v)
			}
			if q.Sum != nil && math.Abs(sum-*q.Sum)/float64(n) > 2e-6 {
				t.Errorf("%s: increment %d adds up to %v, want %v", r.ID, k, sum, *q.Sum)
			}
		}
	}
}
