package lora

import (
	"testing"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/unet"
	"github.com/atelier-go/atelier/weights"
)

// TestTargets counts the targets of Stable Diffusion 1.5 and wants every name to mean one of them only.
func TestTargets(t *testing.T) {
	targets, err := NewTargets(clip.SD15(), unet.SD15())
	if err != nil {
		t.Fatal(err)
	}
	count, keys := map[weights.Kind]int{}, map[string]bool{}
	for _, target := range targets.list {
		count[target.Kind]++
		keys[target.Key()] = true
		if target.Name == "" || len(target.Shape) != 2 && len(target.Shape) != 4 {
			t.Errorf("target %+v", target)
		}
		for _, spelling := range target.spellings() {
			if other := targets.layers[targets.index[target.Kind][flatten(spelling)]].weight; other.Name != target.Name {
				t.Errorf("%q means %q and %q", spelling, other.Name, target.Name)
			}
		}
	}
	if count[weights.KindUNet] != 282 || count[weights.KindTextEncoder] != 74 {
		t.Errorf("%v targets, want 282 in the UNet and 74 in the text encoder", count)
	}
	if len(keys) != 356 {
		t.Errorf("%d kohya keys, want 356", len(keys))
	}
	for name := range targets.index[weights.KindUNet] {
		if _, ok := targets.index[weights.KindTextEncoder][name]; ok {
			t.Errorf("%q is a name in both networks", name)
		}
	}
}

func TestTargetsErrors(t *testing.T) {
	if _, err := NewTargets(clip.Config{}, unet.SD15()); err == nil {
		t.Error("no text encoder is no error")
	}
	if _, err := NewTargets(clip.SD15(), unet.Config{}); err == nil {
		t.Error("no UNet is no error")
	}
}
