package computetest

import (
	"math"
	"testing"

	"github.com/atelier-go/atelier/compute"
)

// anchor is an op whose result is known without computing it the way a device does.
type anchor struct {
	name      string
	record    func(o *Operands) compute.Op
	want      []float32 // all results, one after the other
	tolerance float64   // largest absolute error
	reason    string
}

func (s Suite) testAnchors(t *testing.T) {
	device := s.open(t)
	s.testOpAnchors(t, device, anchors())
	t.Run("TimestepEmbedding/table", func(t *testing.T) { testTimeFeatures(t, device) })
	t.Run("Embed/every F16", func(t *testing.T) { testEveryHalf(t, device) })
}

func (s Suite) testOpAnchors(t *testing.T, device compute.Device, anchors []anchor) {
	for _, a := range anchors {
		t.Run(a.name, func(t *testing.T) {
			c := Case{Name: a.name, Params: compute.F32, Record: a.record}
			if s.isMissing(t, c, device) {
				t.Skipf("listed as missing from %s", device.Name())
			}
			r, err := c.record(false)
			if err != nil {
				t.Fatal(err)
			}
			x := start(t, device, r)
			x.poison(t)
			x.run(t)
			var got []float32
			for i := range x.out {
				got = append(got, x.output(t, i).F32...)
			}
			if len(got) != len(a.want) {
				t.Fatalf("the result has %d elements, want %d", len(got), len(a.want))
			}
			limit := a.tolerance
			if limit > 0 {
				limit += 4 * s.OperandRoundoff
			}
			for i, w := range a.want {
				same := got[i] == w || got[i] != got[i] && w != w // infinities and NaN too
				if d := math.Abs(float64(got[i]) - float64(w)); !same && !(d <= limit) {
					t.Errorf("element %d: got %v, want %v ± %g (%s)", i, got[i], w, limit, a.reason)
				}
			}
		})
	}
}

const (
	small     = "small integers are exact"
	published = "published to seven decimals"
)

func anchors() []anchor {
	xs := []float32{-3, -1, -0.5, 0, 0.5, 1, 3}
	activation := func(name string, a compute.Activation, want ...float32) anchor {
		return anchor{"Activate/" + name, func(o *Operands) compute.Op {
			return compute.Activate{X: o.Values(xs, 1, 7), Activation: a}
		}, want, 5e-7, published}
	}
	return []anchor{
		activation("Identity", compute.Identity, xs...),
		activation("ReLU", compute.ReLU, 0, 0, 0, 0, 0.5, 1, 3),
		activation("LeakyReLU", compute.LeakyReLU, -0.6, -0.2, -0.1, 0, 0.5, 1, 3),
		activation("SiLU", compute.SiLU, -0.1422776, -0.2689414, -0.1887703, 0, 0.3112297, 0.7310586, 2.8577224),
		activation("QuickGELU", compute.QuickGELU, -0.0180713, -0.1542042, -0.1496116, 0, 0.3503884, 0.8457958, 2.9819287),
		activation("GELU", compute.GELU, -0.0040497, -0.1586553, -0.1542688, 0, 0.3457312, 0.8413447, 2.9959503),
		{"GEGLU", func(o *Operands) compute.Op {
			return compute.GEGLU{X: o.Values([]float32{2, 10, 1, -1, 3, -1, 0.5, 3}, 2, 4)}
		}, []float32{2 * 0.8413447, 10 * -0.1586553, 3 * 0.3457312, -2.9959503}, 1e-6, published},

		{"Linear/rows of the weight", func(o *Operands) compute.Op {
			return compute.Linear{
				X:      o.Values([]float32{1, 0, 0, 1, 1, 1}, 3, 2),
				Weight: o.Weights("weight", []float32{1, 2, 3, 4, 5, 6}, 3, 2), // [Cout Cin]
				Bias:   o.Weights("bias", []float32{10, 20, 30}, 3),
			}
		}, []float32{11, 23, 35, 12, 24, 36, 13, 27, 41}, 0, small},
		{"Linear/second input comes after the first", func(o *Operands) compute.Op {
			return compute.Linear{
				X: o.Values([]float32{1, 2}, 2, 1), X2: o.Values([]float32{3, 4, 5, 6}, 2, 2),
				Weight: o.Weights("weight", []float32{100, 10, 1}, 1, 3),
			}
		}, []float32{134, 256}, 0, small},
		{"Linear/activation after the addends, before the residual", func(o *Operands) compute.Op {
			return compute.Linear{
				X: o.Values([]float32{1, 1, 1, 1}, 2, 2, 1), Weight: o.Weights("weight", []float32{-5}, 1, 1), Bias: o.Weights("bias", []float32{1}, 1),
				Epilogue: compute.Epilogue{
					PerChannel: o.Values([]float32{5, 1}, 2, 1), Activation: compute.ReLU,
					Residual: o.Values([]float32{-1, -2, -3, -4}, 2, 2, 1),
				},
			}
		}, []float32{0, -1, -3, -4}, 0, small},

		{"Conv2D/kernel is not flipped", func(o *Operands) compute.Op {
			return compute.Conv2D{
				X:      o.Values([]float32{0, 0, 0, 0, 1, 0, 0, 0, 0}, 1, 3, 3, 1),
				Weight: o.Weights("weight", []float32{1, 2, 3, 4, 5, 6, 7, 8, 9}, 1, 1, 3, 3), Stride: 1, Pad: compute.SamePadding(1),
			}
		}, []float32{9, 8, 7, 6, 5, 4, 3, 2, 1}, 0, small},
		{"Conv2D/weight is OIHW, image NHWC", func(o *Operands) compute.Op {
			return compute.Conv2D{
				X: o.Values([]float32{1, 10, 100, 1000}, 1, 1, 2, 2), // two positions of two channels
				// out 0 takes channel 0 of the left and channel 1 of the right, out 1 twice channel 1 of the left
				Weight: o.Weights("weight", []float32{1, 0, 0, 1, 0, 0, 2, 0}, 2, 2, 1, 2), Stride: 1,
			}
		}, []float32{1001, 20}, 0, small},
		{"Conv2D/identity", func(o *Operands) compute.Op {
			return compute.Conv2D{
				X:      o.Values([]float32{1, 2, 3, 4, 5, 6, 7, 8}, 2, 2, 2, 1),
				Weight: o.Weights("weight", []float32{0, 0, 0, 0, 1, 0, 0, 0, 0}, 1, 1, 3, 3), Stride: 1, Pad: compute.SamePadding(1),
			}
		}, []float32{1, 2, 3, 4, 5, 6, 7, 8}, 0, small},
		{"Conv2D/stride 2 padded below and right", func(o *Operands) compute.Op {
			return compute.Conv2D{
				X:      o.Values([]float32{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, 1, 4, 4, 1),
				Weight: o.Weights("weight", []float32{1, 1, 1, 1, 1, 1, 1, 1, 1}, 1, 1, 3, 3), Stride: 2, Pad: compute.Padding{Bottom: 1, Right: 1},
			}
		}, []float32{9, 6, 6, 4}, 0, small},
		{"Conv2D/stride 2 padded all around", func(o *Operands) compute.Op {
			return compute.Conv2D{
				X:      o.Values([]float32{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, 1, 4, 4, 1),
				Weight: o.Weights("weight", []float32{1, 1, 1, 1, 1, 1, 1, 1, 1}, 1, 1, 3, 3), Stride: 2, Pad: compute.SamePadding(1),
			}
		}, []float32{4, 6, 6, 9}, 0, small},
		{"Conv2D/padded above and left by different amounts", func(o *Operands) compute.Op {
			return compute.Conv2D{
				X:      o.Values([]float32{1, 2, 3, 4}, 1, 2, 2, 1),
				Weight: o.Weights("weight", []float32{1}, 1, 1, 1, 1), Stride: 1, Pad: compute.Padding{Top: 2, Left: 1},
			}
		}, []float32{0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 3, 4}, 0, small},
		{"Conv2D/nearest neighbour from 3 to 5", func(o *Operands) compute.Op {
			return compute.Conv2D{
				X:      o.Values([]float32{1, 2, 3}, 1, 1, 3, 1),
				Weight: o.Weights("weight", []float32{1}, 1, 1, 1, 1), Stride: 1, Resize: [2]int{2, 5},
			}
		}, []float32{1, 1, 2, 2, 3, 1, 1, 2, 2, 3}, 0, small},
		{"Conv2D/second input comes after the first", func(o *Operands) compute.Op {
			return compute.Conv2D{
				X: o.Values([]float32{1, 2}, 1, 1, 2, 1), X2: o.Values([]float32{3, 4}, 1, 1, 2, 1),
				Weight: o.Weights("weight", []float32{10, 1}, 1, 2, 1, 1), Stride: 1,
			}
		}, []float32{13, 24}, 0, small},
		{"Conv2D/addend of each sample", func(o *Operands) compute.Op {
			return compute.Conv2D{
				X: o.Values([]float32{1, 2, 3, 4}, 2, 1, 2, 1), Weight: o.Weights("weight", []float32{1}, 1, 1, 1, 1), Stride: 1,
				Epilogue: compute.Epilogue{PerChannel: o.Values([]float32{10, 20}, 2, 1)},
			}
		}, []float32{11, 12, 23, 24}, 0, small},

		{"GroupNorm/of a constant is the bias", func(o *Operands) compute.Op {
			return compute.GroupNorm{
				X:      o.Values([]float32{4, 4, 4, 4, 4, 4, 4, 4}, 1, 2, 2, 2),
				Weight: o.Weights("weight", []float32{3, 3}, 2), Bias: o.Weights("bias", []float32{0.5, -1}, 2), Groups: 1, Eps: 1e-5,
			}
		}, []float32{0.5, -1, 0.5, -1, 0.5, -1, 0.5, -1}, 0, "x equals its mean"},
		{"GroupNorm/groups are consecutive channels, samples apart", func(o *Operands) compute.Op {
			return compute.GroupNorm{ // mean and deviation of the four groups: (2,1) (20,10); (0,1) (7,2); variance large against Eps
				X:      o.Values([]float32{1, 3, 10, 30, -1, 1, 5, 9}, 2, 1, 4),
				Weight: o.Weights("weight", []float32{1, 2, 3, 4}, 4), Bias: o.Weights("bias", []float32{0, 0, 0, 100}, 4), Groups: 2, Eps: 1e-9,
			}
		}, []float32{-1, 2, -3, 104, -1, 2, -3, 104}, 1e-5, "float32 near 100"},
		{"GroupNorm/epsilon joins the variance", func(o *Operands) compute.Op {
			return compute.GroupNorm{ // variance 1, so 1/√(1+3) = 1/2
				X:      o.Values([]float32{-1, 1}, 1, 2, 1),
				Weight: o.Weights("weight", []float32{1}, 1), Bias: o.Weights("bias", []float32{0}, 1), Groups: 1, Eps: 3,
			}
		}, []float32{-0.5, 0.5}, 1e-7, "one division"},
		{"GroupNorm/a group straddles both inputs", func(o *Operands) compute.Op {
			return compute.GroupNorm{
				X: o.Values([]float32{1, 7}, 1, 1, 2), X2: o.Values([]float32{9, 5}, 1, 1, 2),
				Weight: o.Weights("weight", []float32{1, 1, 1, 1}, 4), Bias: o.Weights("bias", []float32{0, 0, 0, 0}, 4), Groups: 1, Eps: 0.25,
			}
		}, straddled(), 1e-6, "one division"},
		{"LayerNorm", func(o *Operands) compute.Op {
			return compute.LayerNorm{
				X:      o.Values([]float32{-1, 1, 5, 5}, 2, 2),
				Weight: o.Weights("weight", []float32{4, 6}, 2), Bias: o.Weights("bias", []float32{1, 2}, 2), Eps: 3,
			}
		}, []float32{-1, 5, 1, 2}, 1e-6, "one division"},

		{"Attention/equal logits give the mean", func(o *Operands) compute.Op {
			return compute.Attention{
				Q: o.Values([]float32{0, 0, 0, 0}, 1, 2, 2), K: o.Values([]float32{1, 2, 3, 4, 5, 6, 7, 8}, 1, 4, 2),
				V: o.Values([]float32{1, 10, 2, 20, 3, 30, 6, 40}, 1, 4, 2), Heads: 1,
			}
		}, []float32{3, 25, 3, 25}, 1e-5, "float32 near 25"},
		{"Attention/causal", func(o *Operands) compute.Op {
			return compute.Attention{
				Q: o.Values([]float32{0, 0, 0}, 1, 3, 1), K: o.Values([]float32{1, 2, 3}, 1, 3, 1),
				V: o.Values([]float32{3, 5, 10}, 1, 3, 1), Heads: 1, Causal: true,
			}
		}, []float32{3, 4, 6}, 1e-6, "float32 near 6"},
		{"Attention/logits are divided by √d", func(o *Operands) compute.Op {
			ln3 := float32(math.Log(3)) // q·k = (0, 2·ln 3) over √4: weights 1/4 and 3/4
			return compute.Attention{
				Q: o.Values([]float32{2, 0, 0, 0}, 1, 1, 4), K: o.Values([]float32{0, 9, 9, 9, ln3, 9, 9, 9}, 1, 2, 4),
				V: o.Values([]float32{4, 0, 8, 0, 8, 4, 0, 0}, 1, 2, 4), Heads: 1,
			}
		}, []float32{7, 3, 2, 0}, 2e-6, "float32 near 8"},
		{"Attention/d is a head's width", func(o *Operands) compute.Op {
			ln3 := float32(math.Log(3)) // in both heads q·k = (0, ln 3) over √1
			return compute.Attention{
				Q: o.Values([]float32{1, -1}, 1, 1, 2), K: o.Values([]float32{0, 0, ln3, -ln3}, 1, 2, 2),
				V: o.Values([]float32{4, 0, 8, 4}, 1, 2, 2), Heads: 2,
			}
		}, []float32{7, 3}, 2e-6, "float32 near 8"},
		{"Attention/heads are consecutive channels", func(o *Operands) compute.Op {
			return compute.Attention{ // head 0 prefers key 0, head 1 key 1, so far that the other weight vanishes
				Q: o.Values([]float32{30, 30}, 1, 1, 2), K: o.Values([]float32{10, 0, 0, 10}, 1, 2, 2),
				V: o.Values([]float32{1, 2, 3, 4}, 1, 2, 2), Heads: 2,
			}
		}, []float32{1, 4}, 1e-6, "float32 near 4"},
		{"Attention/large logits", func(o *Operands) compute.Op {
			return compute.Attention{
				Q: o.Values([]float32{100}, 1, 1, 1), K: o.Values([]float32{100, 100}, 1, 2, 1), V: o.Values([]float32{1, 3}, 1, 2, 1), Heads: 1,
			}
		}, []float32{2}, 1e-6, "float32 near 2"},

		{"Embed", func(o *Operands) compute.Op {
			return compute.Embed{
				IDs: o.IDs([]int32{2, 0, 1, 2}, 2, 2), Table: o.Weights("table", []float32{1, 2, 3, 4, 5, 6}, 3, 2),
				Position: o.Weights("position", []float32{10, 20, 30, 40, 50, 60}, 3, 2),
			}
		}, []float32{15, 26, 31, 42, 13, 24, 35, 46}, 0, small},
		{"Add", func(o *Operands) compute.Op {
			return compute.Add{A: o.Values([]float32{1, 2, 3}, 3), B: o.Values([]float32{10, 20, 30}, 3)}
		}, []float32{11, 22, 33}, 0, small},
		{"GuidanceCombine", func(o *Operands) compute.Op {
			return compute.GuidanceCombine{X: o.Values([]float32{1, 2, 11, 22}, 2, 2), Weights: o.Values([]float32{-6, 7}, 2)}
		}, []float32{71, 142}, 0, small},
		// (1, 2) and (11, 22) at scale 2 are (21, 42), of deviation 10.5; half-way to the 0.5 of (3, 4) that is a factor of 0.5 + 0.25/10.5.
		{"GuidanceCombine/rescaled", func(o *Operands) compute.Op {
			return compute.GuidanceCombine{
				X: o.Values([]float32{1, 2, 11, 22}, 2, 2), Weights: o.Values([]float32{-1, 2}, 2), Like: o.Values([]float32{3, 4}, 1, 2), Rescale: 0.5,
			}
		}, []float32{11, 22}, 4e-6, "float32 near 22"},
		{"GuidanceCombine/conditional only", func(o *Operands) compute.Op {
			return compute.GuidanceCombine{X: o.Values([]float32{1, 2, 11, 22}, 2, 2), Weights: o.Values([]float32{0, 1}, 2)}
		}, []float32{11, 22}, 0, small},
		{"LinearCombination/coefficient 0 hides what is not finite", func(o *Operands) compute.Op {
			inf, nan := float32(math.Inf(1)), float32(math.NaN())
			return compute.LinearCombination{
				Terms:        []compute.Value{o.Values([]float32{1, 2}, 2), o.Values([]float32{inf, nan}, 2), o.Values([]float32{10, 20}, 2)},
				Coefficients: o.Values([]float32{9, 9, 9, 2, 0, 3}, 2, 3), Row: 1,
			}
		}, []float32{32, 64}, 0, small},
		{"Repeat", func(o *Operands) compute.Op {
			return compute.Repeat{X: o.Values([]float32{1, 2, 3, 4}, 2, 2), Times: 2}
		}, []float32{1, 2, 3, 4, 1, 2, 3, 4}, 0, small},
		{"Reshape", func(o *Operands) compute.Op {
			return compute.Reshape{X: o.Values([]float32{1, 2, 3, 4}, 2, 2), Shape: compute.Shape{4}}
		}, []float32{1, 2, 3, 4}, 0, small},
		{"Concat/axis 0", func(o *Operands) compute.Op {
			return compute.Concat{Parts: []compute.Value{o.Values([]float32{1, 2}, 1, 2), o.Values([]float32{3, 4, 5, 6}, 2, 2)}}
		}, []float32{1, 2, 3, 4, 5, 6}, 0, small},
		{"Concat/axis 1", func(o *Operands) compute.Op {
			return compute.Concat{Parts: []compute.Value{o.Values([]float32{1, 2}, 2, 1), o.Values([]float32{3, 4, 5, 6}, 2, 2)}, Axis: 1}
		}, []float32{1, 3, 4, 2, 5, 6}, 0, small},
	}
}

// straddled is (1, 7, 9, 5) normalised as one group: mean 5.5, variance 8.75, and with Eps 0.25 a divisor of 3.
func straddled() []float32 { return []float32{-4.5 / 3, 1.5 / 3, 3.5 / 3, -0.5 / 3} }

// testTimeFeatures compares with features computed in float64 outside of Go, cosines first.
func testTimeFeatures(t *testing.T, device compute.Device) {
	index := []int{0, 1, 2, 80, 159, 160, 161, 240, 319}
	rows := []struct {
		timestep float32
		want     []float64
		sum      float64
	}{
		{0, []float64{1, 1, 1, 1, 1, 0, 0, 0, 0}, 160},
		{1, []float64{0.5403023, 0.5865038, 0.6284395, 0.9999500, 1.0000000, 0.8414710, 0.8099465, 0.0099998, 0.0001059}, 172.456845},
		{500, []float64{-0.8838493, 0.7027505, 0.8866771, 0.2836622, 0.9985978, -0.4677718, 0.7114364, -0.9589243, 0.0529379}, 69.293046},
		{981, []float64{0.6799572, -0.7984300, 0.5780882, -0.9267150, 0.9946059, 0.7332518, 0.6020876, -0.3757649, 0.1037259}, 56.412686},
		{999, []float64{0.9996499, 0.8026810, -0.2781140, -0.8444697, 0.9944063, -0.0264608, 0.5964086, -0.5356033, 0.1056221}, 57.182983},
	}
	var timesteps []float32
	for _, r := range rows {
		timesteps = append(timesteps, r.timestep)
	}
	r, err := Case{Name: "features", Record: func(o *Operands) compute.Op {
		return compute.TimestepEmbedding{Timesteps: o.Values(timesteps, len(timesteps)), Dim: 320, FlipSinToCos: true}
	}}.record(false)
	if err != nil {
		t.Fatal(err)
	}
	x := start(t, device, r)
	x.run(t)
	got := x.output(t, 0).F32
	for n, row := range rows {
		// The table was computed in float64. The op's angles are float32 products of float32 frequencies: off by up to
		// two roundoffs of the angle, which is at most t.
		tolerance := 1e-7 + 2*roundoff*float64(row.timestep)
		var sum float64
		for _, v := range got[320*n:][:320] {
			sum += float64(v)
		}
		for k, i := range index {
			if d := math.Abs(float64(got[320*n+i]) - row.want[k]); !(d <= tolerance) {
				t.Errorf("t = %v, element %d: got %v, want %v ± %g", row.timestep, i, got[320*n+i], row.want[k], tolerance)
			}
		}
		if d := math.Abs(sum - row.sum); !(d <= 30*tolerance) {
			t.Errorf("t = %v: the features sum to %v, want %v ± %g", row.timestep, sum, row.sum, 30*tolerance)
		}
	}
}

// testEveryHalf looks up a table that holds every finite binary16, whose values follow from the format's definition.
func testEveryHalf(t *testing.T, device compute.Device) {
	var want []float32
	for sign := 1.0; sign >= -1; sign -= 2 {
		for fraction := range 1024 {
			want = append(want, float32(sign*math.Ldexp(float64(fraction), -24))) // subnormal
		}
		for exponent := 1; exponent < 31; exponent++ {
			for fraction := range 1024 {
				want = append(want, float32(sign*math.Ldexp(float64(1024+fraction), exponent-25)))
			}
		}
	}
	rows := len(want) / 1024
	r, err := Case{Name: "halves", Params: compute.F16, Record: func(o *Operands) compute.Op {
		ids := make([]int32, rows)
		for i := range ids {
			ids[i] = int32(i)
		}
		return compute.Embed{IDs: o.IDs(ids, 1, rows), Table: o.Weights("table", want, rows, 1024)}
	}}.record(false)
	if err != nil {
		t.Fatal(err)
	}
	for i, bits := range r.source.halves("table") {
		// The bits count up through one sign, then through the other.
		if half := uint16(i%(31*1024)) | uint16(i/(31*1024))<<15; bits != half && want[i] != 0 {
			t.Fatalf("value %v is stored as %#04x, its encoding is %#04x", want[i], bits, half)
		}
	}
	x := start(t, device, r)
	x.run(t)
	for i, v := range x.output(t, 0).F32 {
		if v != want[i] {
			t.Fatalf("element %d: got %v, want %v", i, v, want[i])
		}
	}
}
