package golden

import (
	"bufio"
	"compress/gzip"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
)

// Claims records what a network claims: the shape of each parameter by name.
type Claims map[string]compute.Shape

// Claim implements nn.Claimer.
func (c Claims) Claim(name string, shape ...int) { c[name] = shape }

// SD15 is what the component ("unet", "vae", "text_encoder") of Stable Diffusion 1.5 has to claim, from a list that was
// made of the checkpoint.
func SD15(t testing.TB, component string) Claims {
	t.Helper()
	f, err := os.Open(filepath.Join(Root(t), "weights", "testdata", "sd15-tensors.tsv.gz"))
	check(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	check(t, err)
	claims := Claims{}
	lines := bufio.NewScanner(z)
	for lines.Scan() {
		row := strings.Split(lines.Text(), "\t")
		if row[0] != component {
			continue
		}
		var shape compute.Shape
		for s := range strings.SplitSeq(row[2], ",") {
			n, err := strconv.Atoi(s)
			check(t, err)
			shape = append(shape, n)
		}
		claims[row[1]] = shape
	}
	check(t, lines.Err())
	return claims
}

// CheckClaims fails the test for every parameter that is missing in got, surplus or of another shape.
func CheckClaims(t testing.TB, got, want Claims) {
	t.Helper()
	if len(want) == 0 {
		t.Fatal("golden: nothing to compare with")
	}
	for name, shape := range want {
		if have, ok := got[name]; !ok {
			t.Errorf("%s %v is not claimed", name, shape)
		} else if !have.Equal(shape) {
			t.Errorf("%s is claimed as %v, want %v", name, have, shape)
		}
	}
	for name, shape := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s %v is claimed and does not exist", name, shape)
		}
	}
}

// Cost is what a network's large operations take, in 10⁹ multiply-adds.
type Cost struct {
	Conv      float64 // Conv2D: all convolutions but the 1×1 ones
	Linear    float64 // Linear
	Attention float64 // scores and weighted sums
}

// CheckCost compares the recorded cost of p with the published one, each part to the given number of 10⁹ multiply-adds.
func CheckCost(t testing.TB, p *compute.Program, want Cost, tolerance float64) {
	t.Helper()
	var got Cost
	for i, n := range p.Nodes {
		g := float64(p.FLOPs(i)) / 2e9
		switch n.Op.(type) {
		case compute.Conv2D:
			got.Conv += g
		case compute.Linear:
			got.Linear += g
		case compute.Attention:
			got.Attention += g
		}
	}
	for _, part := range []struct {
		name      string
		got, want float64
	}{{"Conv2D", got.Conv, want.Conv}, {"Linear", got.Linear, want.Linear}, {"Attention", got.Attention, want.Attention}} {
		if math.Abs(part.got-part.want) > tolerance {
			t.Errorf("%s takes %.3f GMAC, want %.3f within %g", part.name, part.got, part.want, tolerance)
		}
	}
}
