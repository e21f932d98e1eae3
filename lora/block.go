package lora

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/atelier-go/atelier/internal/python"
	"github.com/atelier-go/atelier/weights"
)

// The blocks that sd-scripts divides the UNet into: twelve on the way down, of which the first has no layer that is
// trained, the middle, and twelve on the way up.
const (
	Blocks      = 25
	MiddleBlock = 12 // also the number of blocks on either side
)

// Block is the UNet's block that a target lies in, 0 to Blocks-1, or -1 for the text encoder. Deeper models' last blocks count as one.
func (t Target) Block() int {
	path := strings.Split(t.Name, ".")
	if t.Kind != weights.KindUNet || len(path) < 4 {
		return -1
	}
	i, _ := strconv.Atoi(path[1])
	j, _ := strconv.Atoi(path[3])
	if path[2] == "downsamplers" || path[2] == "upsamplers" {
		j = 2
	}
	switch path[0] {
	case "down_blocks":
		return min(1+3*i+j, MiddleBlock-1)
	case "up_blocks":
		return min(MiddleBlock+1+3*i+j, Blocks-1)
	}
	return MiddleBlock
}

// presets are curves over a side's blocks, x being 0 at the first and 1 at the last.
var presets = []struct {
	name string
	at   func(x float64) float64
}{
	{"sine", func(x float64) float64 { return math.Sin(math.Pi / 2 * x) }},
	{"cosine", func(x float64) float64 { return math.Sin(math.Pi / 2 * (1 - x)) }},
	{"linear", func(x float64) float64 { return x }},
	{"reverse_linear", func(x float64) float64 { return 1 - x }},
	{"zeros", func(float64) float64 { return 0 }},
}

// ParseBlockLRWeights reads what the learning rates of the UNet's 25 blocks are multiplied with, as sd-scripts' network_args
// give it: "down_lr_weight" and "up_lr_weight" are up to 12 numbers between commas, of which those left empty are 0 and
// those left out are 1, or sine, cosine, linear, reverse_linear or zeros, all with "+0.1" added if wanted;
// "mid_lr_weight" is one number. Weights up to threshold, "block_lr_zero_threshold", become 0. If nothing is given the
// result is nil.
func ParseBlockLRWeights(down, mid, up string, threshold float64) ([]float64, error) {
	if down == "" && mid == "" && up == "" {
		return nil, nil
	}
	all := make([]float64, 0, Blocks)
	for _, part := range []struct {
		option, text string
		n            int
	}{{"down_lr_weight", down, MiddleBlock}, {"mid_lr_weight", mid, 1}, {"up_lr_weight", up, Blocks - MiddleBlock - 1}} {
		list, err := blockWeights(part.text, part.n)
		if err != nil {
			return nil, fmt.Errorf("lora: %s is %.100q: %w", part.option, part.text, err)
		}
		all = append(all, list...)
	}
	for i, w := range all {
		if w <= threshold {
			all[i] = 0
		}
	}
	return all, nil
}

// blockWeights reads the weights of n blocks.
func blockWeights(text string, n int) ([]float64, error) {
	list := slices.Repeat([]float64{1}, n)
	if text == "" {
		return list, nil
	}
	number := func(s string) (float64, error) {
		v, err := python.Float(s)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return 0, fmt.Errorf("%q is no number; want numbers between commas, or sine, cosine, linear, reverse_linear or zeros", s)
		}
		return v, nil
	}
	name, base, _ := strings.Cut(text, "+")
	for _, p := range presets {
		if p.name != strings.TrimSpace(name) || n == 1 {
			continue
		}
		add := 0.0
		if base != "" {
			var err error
			if add, err = number(base); err != nil {
				return nil, err
			}
		}
		for i := range list {
			list[i] = p.at(float64(i)/float64(n-1)) + add
		}
		return list, nil
	}
	for i, s := range strings.Split(text, ",") {
		if i == n {
			break
		}
		list[i] = 0
		if strings.TrimSpace(s) != "" {
			var err error
			if list[i], err = number(s); err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}
