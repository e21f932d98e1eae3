package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/atelier-go/atelier/lora"
)

// check is sd-scripts' check_lora_weights, with the number of modules beside that of their tensors, which the reference
// calls so. A file with numbers that are none is an error, and one of a kind that is not supported.
func check(ctx context.Context, c *command) error {
	var all bool
	c.BoolVar(&all, "show_all_keys", false, "list all tensors, alphas and others too")
	c.BoolVar(&all, "s", false, "the same as -show_all_keys")
	path, err := c.file()
	if err != nil {
		return err
	}
	report, err := lora.Check(ctx, path)
	if report == nil {
		return err
	}
	fmt.Fprintf(c.out, "number of modules: %d\nnumber of up and down tensors: %d\n", report.Modules, report.Factors)
	for _, part := range slices.Sorted(maps.Keys(report.Parts)) {
		fmt.Fprintf(c.out, "tensors called %s: %d\n", part, report.Parts[part])
	}
	all = all || report.Factors == 0
	for _, t := range report.Tensors {
		if !all && !t.Factor && t.NonFinite == 0 {
			continue
		}
		fmt.Fprintf(c.out, "%q %s%v mean %.6g min %.6g", t.Key, t.DType, t.Shape, t.MeanAbs, t.MinAbs)
		if t.NonFinite > 0 {
			fmt.Fprintf(c.out, ": %d of the elements are NaN or infinite", t.NonFinite)
		}
		fmt.Fprintln(c.out)
	}
	switch {
	case err != nil:
	case report.Refused != nil:
		fmt.Fprintf(c.out, "kind: %s, which is not supported\n", report.Refused.Kind)
		err = report.Refused
	case report.Factors == 0 && len(report.Parts) == 0:
		err = fmt.Errorf("%s: none of its %d tensors belongs to a LoRA; see lora inspect", path, len(report.Tensors))
	}
	return err
}
