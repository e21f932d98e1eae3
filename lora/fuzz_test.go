package lora

import (
	"bytes"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/unet"
	"github.com/atelier-go/atelier/weights"
)

// FuzzKeys opens files with tensors of any names and shapes: it must not panic, must count every tensor once, and what
// it takes for an adapter must be mergeable.
func FuzzKeys(f *testing.F) {
	targets, err := NewTargets(clip.SD15(), unet.SD15())
	if err != nil {
		f.Fatal(err)
	}
	const q = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
	f.Add(q+".lora_down.weight\n"+q+".lora_up.weight\n"+q+".alpha", uint16(320), uint16(1), true, "")
	f.Add("unet.mid_block.attentions.0.proj_in.lora_A.weight\nunet.mid_block.attentions.0.proj_in.lora_B.weight", uint16(1280), uint16(1), false, `{"unet.lora_alpha": 3, "unet.alpha_pattern": {"proj_in": 2}}`)
	f.Add("base_model.model.lora_te_.lora.down.weight\n.alpha\n_lora.up.weight\nbundle_emb.x", uint16(2), uint16(3), false, "null")
	f.Add(q+".hada_w1_a\nlora_te2_x", uint16(1), uint16(0), true, `{"unet.alpha_pattern": {"(a*)*": 1}}`)
	f.Fuzz(func(t *testing.T, keys string, a, b uint16, transpose bool, metadata string) {
		var tensors []weights.Tensor
		for i, key := range strings.Split(keys, "\n") {
			shape := compute.Shape{int(a % 2048), int(b % 8)}
			if i%2 == 0 != transpose {
				shape[0], shape[1] = shape[1], shape[0]
			}
			if strings.HasSuffix(key, "alpha") {
				shape = nil
			}
			tensors = append(tensors, weights.Tensor{Name: key, DType: weights.F16, Shape: shape, Data: make([]byte, 2*shape.Elements())})
		}
		var file bytes.Buffer
		if err := weights.Encode(&file, tensors, map[string]string{"lora_adapter_metadata": metadata}); err != nil {
			return
		}
		opened, err := weights.OpenFileFS(fstest.MapFS{"x": {Data: file.Bytes()}}, "x")
		if err != nil {
			return
		}
		defer opened.Close()
		adapter, err := read(opened, targets)
		if err != nil {
			if adapter != nil || !strings.HasPrefix(err.Error(), "lora: ") {
				t.Fatalf("the error is %v", err)
			}
			return
		}
		counted := map[string]bool{}
		for _, key := range append(adapter.Unmatched, adapter.Ignored...) {
			counted[key] = true
		}
		changed := map[string]bool{}
		for _, m := range adapter.Modules {
			changed[m.Name] = true
			if !m.Complete() {
				t.Fatalf("module %q is incomplete", m.Name)
			}
			if m.Shape.Elements() < 1<<20 {
				m.Add(make([]float32, m.Shape.Elements()), Factor{m.Shape, make([]float32, m.Shape.Elements())}, 1, 0)
			}
		}
		for _, x := range tensors {
			module, _, ok := splitKey(x.Name)
			if !ok {
				module, _, ok = splitParam(x.Name)
			}
			j, found := targets.resolve(module)
			if !counted[x.Name] && !(ok && found && changed[targets.layers[j].name()]) {
				t.Fatalf("tensor %q is not accounted for", x.Name)
			}
		}
	})
}

// FuzzParseTag reads any arguments: what it accepts has a name and finite strengths.
func FuzzParseTag(f *testing.F) {
	for _, args := range []string{"x:0.7", "x:te=0.5:unet=1:dyn=8", "x:1:1:0", "a=b", ":::", "x:1e999"} {
		f.Add(args)
	}
	f.Fuzz(func(t *testing.T, args string) {
		tag, err := ParseTag(args)
		if err != nil {
			return
		}
		if tag.Name == "" || tag.TextEncoder-tag.TextEncoder != 0 || tag.UNet-tag.UNet != 0 || tag.Rank < 0 {
			t.Errorf("%q gives %+v", args, tag)
		}
	})
}
