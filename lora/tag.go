package lora

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/internal/python"
)

// Tag is what stands in a prompt as <lora:NAME:TE:UNET:DYN>.
type Tag struct {
	Name string // for Folder.Find
	Strength
}

// WithTag is a prompt with the tag of an adapter that every prompt is to have, as the A1111 web UI's option sd_lora adds it with
// extra_networks_default_multiplier, unless the prompt's tags have the adapter already.
func WithTag(prompt string, tags []Tag, name string, strength float64) string {
	if slices.ContainsFunc(tags, func(t Tag) bool { return t.Name == name }) {
		return prompt
	}
	return prompt + "<lora:" + name + ":" + python.String(strength) + ">"
}

// ParseTag reads the arguments of a tag, what stands between "<lora:" and ">", as the A1111 web UI does: positional
// ones, and named ones (te=, unet=, dyn=), which win. TE is 1 if absent, UNET is as TE, DYN is all ranks. Numbers are
// Python's. What the web UI fails at is an error, and so are strengths that are not finite and an empty name.
func ParseTag(args string) (Tag, error) {
	tag, named, positional := Tag{}, map[string]string{}, []string{}
	for arg := range strings.SplitSeq(args, ":") {
		if key, value, ok := strings.Cut(arg, "="); ok && !strings.Contains(value, "=") {
			named[key] = value
		} else {
			positional = append(positional, arg)
		}
	}
	if len(positional) == 0 || positional[0] == "" {
		return tag, fmt.Errorf("lora: <lora:%.100s> has no name; write <lora:NAME:0.8>", args)
	}
	tag.Name = positional[0]
	for i, key := range []string{"te", "unet", "dyn"} {
		if _, ok := named[key]; !ok && i+1 < len(positional) {
			named[key] = positional[i+1]
		}
	}
	number := func(key string, absent float64) (float64, error) {
		text, ok := named[key]
		if !ok {
			return absent, nil
		}
		v, err := python.Float(text)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return 0, fmt.Errorf("lora: <lora:%.100s>: %s is %.40q; want a number such as 0.8", args, key, text)
		}
		return v, nil
	}
	var err error
	if tag.TextEncoder, err = number("te", 1); err != nil {
		return tag, err
	}
	if tag.UNet, err = number("unet", tag.TextEncoder); err != nil {
		return tag, err
	}
	if text, ok := named["dyn"]; ok {
		if tag.Rank, err = python.Int(text); err != nil || tag.Rank < 1 {
			return tag, fmt.Errorf("lora: <lora:%.100s>: dyn is %.40q; want the number of ranks to keep", args, text)
		}
	}
	return tag, nil
}
