package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/atelier-go/atelier/examples/internal/terminal"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/weights"
)

// extract is sd-scripts' extract_lora_from_models.
func extract(ctx context.Context, c *command) error {
	var paths struct{ original, tuned string }
	var source weights.Options
	var out output
	var o lora.ExtractOptions
	c.StringVar(&paths.original, "model_org", "", "`PATH` the original checkpoint")
	c.StringVar(&paths.tuned, "model_tuned", "", "`PATH` the fine-tuned checkpoint")
	c.Weights(&source, "model-config", "variant")
	out.define(c, "float")
	c.IntVar(&o.Dim, "dim", 4, "`NUMBER` rank")
	c.IntVar(&o.ConvDim, "conv_dim", 0, "`NUMBER` rank of 3×3 convolutions (default: none, and none of the resnets' other layers)")
	c.Float64Var(&o.MinDiff, "min_diff", 0.01, "`NUMBER` leave out the text encoder unless an element differs by more; below 0 never")
	c.Float64Var(&o.ClampQuantile, "clamp_quantile", 0.99, "`NUMBER` bound the numbers by this quantile of them; 1 does not")
	if err := c.Parse(c.args, 0); err != nil {
		return err
	}
	if paths.original == "" || paths.tuned == "" {
		return errors.New("-model_org and -model_tuned are needed: name the checkpoints before and after the fine-tuning")
	}
	precision, err := out.check(paths.original, paths.tuned)
	if err != nil {
		return err
	}
	if err := out.isSafetensors(); err != nil {
		return err
	}
	original, err := weights.Open(paths.original, source)
	if err != nil {
		return err
	}
	defer original.Close()
	tuned, err := weights.Open(paths.tuned, source)
	if err != nil {
		return err
	}
	defer tuned.Close()
	bar := terminal.NewBar(c.log, "extracting", "module")
	o.Progress = bar.Set
	a, err := lora.Extract(ctx, original, tuned, o)
	bar.Done()
	if err != nil {
		return err
	}
	if !atOne(a).Changes() {
		return fmt.Errorf("%s and %s are equal in every layer that is extracted: no LoRA can be made of them; name the checkpoints before and after the fine-tuning "+
			"(a text encoder counts that differs by more than -min_diff, 3×3 convolutions with -conv_dim)", paths.original, paths.tuned)
	}
	if a.Modules[0].Kind != weights.KindTextEncoder {
		fmt.Fprintf(c.out, "the text encoder is left out: nothing in it differs by more than %g\n", o.MinDiff)
	}
	return out.write(c, a, precision)
}
