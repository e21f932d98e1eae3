package lora_test

import (
	"strings"
	"testing"

	"github.com/atelier-go/atelier/lora"
)

func TestParseTag(t *testing.T) {
	for _, c := range []struct {
		args string
		want lora.Tag
		err  string
	}{
		{args: "x", want: lora.Tag{Name: "x", Strength: lora.Strength{TextEncoder: 1, UNet: 1}}},
		{args: "x:0.7", want: lora.Tag{Name: "x", Strength: lora.Strength{TextEncoder: 0.7, UNet: 0.7}}},
		{args: "x:1:0.5", want: lora.Tag{Name: "x", Strength: lora.Strength{TextEncoder: 1, UNet: 0.5}}},
		{args: "x:0:1", want: lora.Tag{Name: "x", Strength: lora.Strength{TextEncoder: 0, UNet: 1}}},
		{args: "x:1:1:8", want: lora.Tag{Name: "x", Strength: lora.Strength{TextEncoder: 1, UNet: 1, Rank: 8}}},
		{args: "x:te=0.5", want: lora.Tag{Name: "x", Strength: lora.Strength{TextEncoder: 0.5, UNet: 0.5}}},
		{args: "x:te=0.5:unet=1", want: lora.Tag{Name: "x", Strength: lora.Strength{TextEncoder: 0.5, UNet: 1}}},
		{args: "x:unet=0.3", want: lora.Tag{Name: "x", Strength: lora.Strength{TextEncoder: 1, UNet: 0.3}}},
		{args: "x:0.2:0.4:te=0.9:unet=-1", want: lora.Tag{Name: "x", Strength: lora.Strength{TextEncoder: 0.9, UNet: -1}}},
		{args: "x:1:dyn=8", want: lora.Tag{Name: "x", Strength: lora.Strength{TextEncoder: 1, UNet: 1, Rank: 8}}},
		{args: "a b: 1 ", want: lora.Tag{Name: "a b", Strength: lora.Strength{TextEncoder: 1, UNet: 1}}},
		{args: "a=b=c", want: lora.Tag{Name: "a=b=c", Strength: lora.Strength{TextEncoder: 1, UNet: 1}}},
		{args: "", err: "no name"},
		{args: ":1", err: "no name"},
		{args: "te=1", err: "no name"},
		{args: "x:strong", err: `te is "strong"`},
		{args: "x:1:", err: `unet is ""`},
		{args: "x:nan", err: `te is "nan"`},
		{args: "x:inf", err: `te is "inf"`},
		{args: "x:1e999", err: `te is "1e999"`},
		{args: "x:1:1:0", err: `dyn is "0"`},
		{args: "x:1:1:2.5", err: `dyn is "2.5"`},
	} {
		t.Run(c.args, func(t *testing.T) {
			got, err := lora.ParseTag(c.args)
			if c.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), "lora: ") || !strings.Contains(err.Error(), c.err) {
					t.Errorf("the error is %v\nwant %q in it", err, c.err)
				}
				return
			}
			if err != nil || got != c.want {
				t.Errorf("have %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}
