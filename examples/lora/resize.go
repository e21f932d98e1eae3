package main

import (
	"context"
	"fmt"
	"math"

	"github.com/atelier-go/atelier/lora"
)

// resize is sd-scripts' resize_lora.
func resize(ctx context.Context, c *command) error {
	var s shapes
	var out output
	var o lora.ResizeOptions
	var verbose bool
	s.define(c)
	out.define(c, "float")
	c.IntVar(&o.NewRank, "new_rank", 4, "`NUMBER` rank of the result, or the most with -dynamic_method")
	c.IntVar(&o.NewConvRank, "new_conv_rank", 0, "`NUMBER` rank of convolutions, 1×1 ones among them (default: new_rank)")
	c.StringVar((*string)(&o.DynamicMethod), "dynamic_method", "", "choose ranks by singular values: sv_ratio, sv_cumulative or sv_fro")
	c.Float64Var(&o.DynamicParam, "dynamic_param", 0, "`NUMBER` what the method aims at: a ratio such as 20, or a part such as 0.9")
	c.BoolVar(&verbose, "verbose", false, "report on every module")
	path, err := c.file()
	if err != nil {
		return err
	}
	precision, err := out.check(path)
	if err != nil {
		return err
	}
	if err := out.isSafetensors(); err != nil {
		return err
	}
	targets, err := s.targets(path)
	if err != nil {
		return err
	}
	a, err := open(c, path, targets)
	if err != nil {
		return err
	}
	resized, report, err := lora.Resize(ctx, a, o)
	if err != nil {
		return err
	}
	sum, squares := 0.0, 0.0
	for _, r := range report {
		if verbose {
			fmt.Fprintf(c.out, "%s: rank %d to %d, sum retained %.1f%%, fro retained %.1f%%, max ratio %.4g\n",
				r.Key(), r.OldRank, r.NewRank, 100*r.SumRetained, 100*r.FroRetained, r.MaxRatio)
		}
		sum, squares = sum+r.FroRetained, squares+r.FroRetained*r.FroRetained
	}
	n := float64(len(report))
	mean := sum / n
	fmt.Fprintf(c.out, "fro retained: mean %.2f%%, standard deviation %.2f%%\n", 100*mean, 100*math.Sqrt(max(0, squares/n-mean*mean)))
	return out.write(c, resized, precision)
}
