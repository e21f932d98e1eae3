package lora

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/python"
	"github.com/atelier-go/atelier/internal/svd"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/weights"
)

// ExtractOptions say how to make an adapter of the difference of two checkpoints, in the words of sd-scripts'
// extract_lora_from_models. The zero value has its defaults.
type ExtractOptions struct {
	Dim     int // rank, "dim"; 0 means 4
	ConvDim int // rank for the UNet's 3×3 convolutions, "conv_dim"; 0 leaves out these and the resnets' other layers
	// MinDiff is what an element of the text encoder has to differ by for the text encoder to be extracted at all,
	// "min_diff"; 0 means 0.01, and below 0 it always is.
	MinDiff float64
	// ClampQuantile bounds the numbers of the factors of a module by this quantile of all of them, "clamp_quantile"; 0 means
	// 0.99, and 1 leaves them. The bound costs accuracy and keeps single numbers from dominating the range of F16.
	ClampQuantile float64
	// Progress, if set, is called after each module.
	Progress func(done, total int)
}

// Check reports what is wrong with the options.
func (o ExtractOptions) Check() error {
	for _, c := range []struct {
		option string
		dim    int
	}{{"dim", o.Dim}, {"conv_dim", o.ConvDim}} {
		if c.dim < 0 || c.dim > maxDim {
			return fmt.Errorf("lora: %s is %d, want 1 to %d; 16 is usual", c.option, c.dim, maxDim)
		}
	}
	if math.IsNaN(o.MinDiff) || math.IsInf(o.MinDiff, 0) {
		return fmt.Errorf("lora: min_diff is %v, want a number such as 0.01", o.MinDiff)
	}
	return checkQuantile(o.ClampQuantile)
}

func checkQuantile(q float64) error {
	if !(q >= 0 && q <= 1) {
		return fmt.Errorf("lora: clamp_quantile is %v, want above 0 and up to 1, such as 0.99", q)
	}
	return nil
}

// Extract makes an adapter of what a fine-tuned checkpoint has learned: for each layer that training would change (see
// Network) the part of tuned - original of the given rank that is nearest to the whole, by a singular value decomposition in
// float64; zeros where they are equal. The metadata name the sources; a title is left to the caller. On two processors a full-size model takes minutes.
func Extract(ctx context.Context, original, tuned *weights.Checkpoint, o ExtractOptions) (*Adapter, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.MinDiff == 0 {
		o.MinDiff = 0.01
	}
	targets, err := TargetsOf(original)
	if err != nil {
		return nil, err
	}
	if _, err := TargetsOf(tuned); err != nil {
		return nil, err
	}
	network := Network{Dim: o.Dim, ConvDim: o.ConvDim}
	x := extraction{ctx: ctx, original: original, tuned: tuned}
	text, err := x.differs(targets, network, o.MinDiff)
	if err != nil {
		return nil, err
	}
	network.UNetOnly = !text
	var chosen []Target
	for _, t := range targets.list {
		if rank, _ := network.rank(t); rank > 0 {
			chosen = append(chosen, t)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("lora: %s: its UNet has no layers to extract; give a Stable Diffusion 1.x checkpoint", original.Path())
	}
	extracted := &Adapter{Path: tuned.Path()}
	for i, t := range chosen {
		difference, err := x.difference(t)
		if err != nil {
			return nil, err
		}
		rank, _ := network.rank(t)
		l, err := nearest(t, difference, min(rank, t.Shape[0], t.columns()))
		if err != nil {
			return nil, fmt.Errorf("lora: %s: %w", t.Name, err)
		}
		l.clamp(o.ClampQuantile)
		extracted.Modules = append(extracted.Modules, Module{t, l})
		if o.Progress != nil {
			o.Progress(i+1, len(chosen))
		}
	}
	version := versionEpsilon
	if original.Prediction().Type == sampler.VPrediction {
		version = versionV
	}
	extracted.Metadata = describeMade(extracted.Modules, version, []string{stem(original.Path()), stem(tuned.Path())})
	arguments := map[string]string{}
	if o.ConvDim > 0 {
		arguments["conv_dim"], arguments["conv_alpha"] = fmt.Sprint(o.ConvDim), python.String(float64(o.ConvDim))
	}
	extracted.Metadata["ss_network_args"] = python.JSON(arguments)
	return extracted, nil
}

// extraction compares two checkpoints.
type extraction struct {
	ctx             context.Context
	original, tuned *weights.Checkpoint
}

// differs reports whether an element of a layer of the text encoder differs by more than least.
func (x extraction) differs(targets *Targets, network Network, least float64) (bool, error) {
	for _, t := range targets.list {
		if rank, _ := network.rank(t); rank == 0 || t.Kind != weights.KindTextEncoder {
			continue
		}
		difference, err := x.difference(t)
		if err != nil {
			return false, err
		}
		for _, d := range difference {
			if math.Abs(float64(d)) > least {
				return true, nil
			}
		}
	}
	return false, nil
}

// nearest makes the change of the rank that is nearest to a difference.
func nearest(t Target, difference []float32, rank int) (LowRank, error) {
	if zeros(difference) {
		return newLowRank(t, rank), nil
	}
	d, err := svd.Leading(difference, t.Shape[0], t.columns(), rank)
	if err != nil {
		return LowRank{}, err
	}
	return compose(t, d, rank), nil
}

// difference is tuned - original of a weight.
func (x extraction) difference(t Target) ([]float32, error) {
	if x.ctx.Err() != nil {
		return nil, context.Cause(x.ctx)
	}
	difference, err := parameter(x.tuned, t)
	if err != nil {
		return nil, err
	}
	original, err := parameter(x.original, t)
	if err != nil {
		return nil, err
	}
	for i, v := range original {
		difference[i] -= v
	}
	return difference, nil
}

// parameter reads a weight of a checkpoint.
func parameter(c *weights.Checkpoint, t Target) ([]float32, error) {
	component, err := c.Component(t.Kind)
	if err != nil {
		return nil, err
	}
	typ, err := component.ParamType(t.Param())
	if err != nil {
		return nil, err
	}
	if !typ.Shape.Equal(t.Shape) {
		return nil, fmt.Errorf("lora: %s: parameter %q is %v, in the other checkpoint %v: they are different models", c.Path(), t.Param(), typ, t.Shape)
	}
	data, err := component.ParamData(t.Param())
	if err != nil {
		return nil, err
	}
	if i := compute.FirstNonFinite(typ.DType, data); i >= 0 {
		return nil, fmt.Errorf("lora: %s: parameter %q: element %d is not a finite number; the checkpoint is damaged, download or convert it again", c.Path(), t.Param(), i)
	}
	values := make([]float32, t.Shape.Elements())
	weights.Widen(values, data, typ.DType)
	return values, nil
}

// clamp bounds the numbers of both factors by their quantile q, with linear interpolation; 0 is 0.99, and 1 does nothing.
func (l LowRank) clamp(q float64) {
	if q == 0 {
		q = 0.99
	}
	if q == 1 {
		return
	}
	all := slices.Concat(l.Up.Data, l.Down.Data)
	slices.Sort(all)
	at := q * float64(len(all)-1)
	low := int(at)
	high := min(low+1, len(all)-1)
	bound := float32(math.Abs(float64(all[low]) + (at-float64(low))*(float64(all[high])-float64(all[low]))))
	for _, data := range [][]float32{l.Up.Data, l.Down.Data} {
		for i, v := range data {
			data[i] = min(max(v, -bound), bound)
		}
	}
}
