package main

import (
	"context"
	"errors"
	"slices"

	"github.com/atelier-go/atelier/lora"
)

// combine is sd-scripts' merge_lora without a base model and, with -new_rank, svd_merge_lora; the sum is exact by default.
func combine(ctx context.Context, c *command) error {
	var loras ratios
	var s shapes
	var out output
	var o lora.CombineOptions
	var kohya, concat bool
	loras.define(c)
	s.define(c)
	out.define(c, "float")
	c.IntVar(&o.NewRank, "new_rank", 0, "`NUMBER` rank of the result, found by singular values (default: all ranks of all files, which is exact)")
	c.IntVar(&o.NewConvRank, "new_conv_rank", 0, "`NUMBER` rank of 3×3 convolutions (default: new_rank)")
	c.Float64Var(&o.ClampQuantile, "clamp_quantile", 0.99, "`NUMBER` with new_rank, bound the numbers by this quantile of them; 1 does not")
	c.BoolVar(&kohya, "kohya", false, "add the factors themselves, as merge_lora does: a ratio of 0.5 has a quarter of the effect")
	c.BoolVar(&concat, "concat", false, "with -kohya, put the ranks side by side instead, as merge_lora -concat does")
	c.Func("lbws", "`LIST` of 17 or 26 block weights, [1,0,0.5,…], for the -lora before it", func(text string) (err error) {
		n := len(loras.blocks)
		if n == 0 {
			return errors.New("write each -lbws behind its -lora")
		}
		loras.blocks[n-1], err = lora.ParseBlockWeights(text)
		return err
	})
	if err := c.Parse(c.args, 0); err != nil {
		return err
	}
	if slices.ContainsFunc(loras.blocks, func(w lora.BlockWeights) bool { return w != nil }) {
		o.BlockWeights = loras.blocks
	}
	switch {
	case kohya && concat:
		o.Method = lora.CombineConcat
	case kohya:
		o.Method = lora.CombineTensors
	}
	precision, err := out.check(loras.paths...)
	if err != nil {
		return err
	}
	if err := out.isSafetensors(); err != nil {
		return err
	}
	targets, err := s.targets(loras.paths...)
	if err != nil {
		return err
	}
	adapters, err := loras.open(c, targets)
	if err != nil {
		return err
	}
	combined, err := lora.Combine(ctx, o, adapters...)
	if err != nil {
		return err
	}
	return out.write(c, combined, precision)
}
