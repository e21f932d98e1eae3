package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/examples/internal/terminal"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/weights"
)

// merge is sd-scripts' merge_lora with a base model: W + Σ ratio·(alpha/rank)·B·A.
func merge(ctx context.Context, c *command) error {
	var model string
	var source weights.Options
	var loras ratios
	var out output
	c.StringVar(&model, "model", "", "`PATH` .safetensors file or diffusers folder; the result is of the same form")
	c.StringVar(&model, "sd_model", "", "the same as -model")
	c.Weights(&source, "model-config", "variant")
	loras.define(c)
	out.define(c, "")
	if err := c.Parse(c.args, 0); err != nil {
		return err
	}
	if model == "" {
		return errors.New("-model is missing: name the checkpoint")
	}
	precision, err := out.check(append(loras.paths, model)...)
	if err != nil {
		return err
	}
	if info, err := os.Stat(model); err == nil && !info.IsDir() {
		if err := out.isSafetensors(); err != nil {
			return err
		}
	} else if err == nil && out.isSafetensors() == nil {
		return fmt.Errorf("-output is %s, but %s is a folder and makes a folder; name one", out.path, model)
	}
	checkpoint, err := weights.Open(model, source)
	if err != nil {
		return err
	}
	defer checkpoint.Close()
	targets, err := lora.TargetsOf(checkpoint)
	if err != nil {
		return err
	}
	adapters, err := loras.open(c, targets)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(adapters, lora.Applied.Changes) {
		return errors.New("the result would be the checkpoint as it is: every ratio is 0, or the LoRAs are all zeros")
	}
	save := weights.SaveOptions{Type: precision, Params: make(map[weights.Kind]compute.ParamSource), Metadata: lora.MergedMetadata(checkpoint, adapters...)}
	save.Metadata["modelspec.title"] = out.title()
	for _, kind := range []weights.Kind{weights.KindTextEncoder, weights.KindUNet} {
		component, err := checkpoint.Component(kind)
		if err != nil {
			return err
		}
		if save.Params[kind], err = lora.Merge(component, kind, lora.MergeOptions{Type: precision}, adapters...); err != nil {
			return err
		}
	}
	bar := terminal.NewBar(c.log, "merging", "MB")
	save.Progress = func(done, total int64) { bar.Set(int(done/1e6), int(total/1e6)) }
	err = checkpoint.Save(ctx, out.path, save)
	bar.Done()
	if err != nil {
		return err
	}
	if roundedAway(save.Params) {
		return fmt.Errorf("%s is the checkpoint as it is: the changes are less than its numbers can hold; raise -ratio, or give -save_precision float", out.path)
	}
	fmt.Fprintf(c.out, "wrote %s: %s with %d LoRAs\n", out.path, model, len(adapters))
	return nil
}

// roundedAway reports whether every parameter that LoRAs change came out as it was.
func roundedAway(params map[weights.Kind]compute.ParamSource) bool {
	total := 0
	for _, source := range params {
		if r, ok := source.(lora.Rounded); ok {
			same, asked := r.Rounded()
			if total += asked; same < asked {
				return false
			}
		}
	}
	return total > 0
}
