package lora_test

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/lora/internal/loratest"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/weights"
)

// TestInspect tells the spellings apart, and files that are no adapter.
func TestInspect(t *testing.T) {
	targets := loratest.TinyTargets(t)
	goldens := filepath.Join(loratest.TinyRandom(t), "goldens")
	keys := func(names ...string) string {
		var tensors []weights.Tensor
		for _, name := range names {
			tensors = append(tensors, loratest.Tensor(name, loratest.RandomFactor(loratest.Rand(), 4, 4)))
		}
		return loratest.Write(t, tensors, nil)
	}
	for _, c := range []struct {
		name, path string
		form       string
		problem    string // "" for an adapter
	}{
		{"kohya", filepath.Join(goldens, "lora_kohya.safetensors"), "kohya", ""},
		{"locon", filepath.Join(goldens, "lora_locon.safetensors"), "kohya", ""},
		{"peft", filepath.Join(goldens, "lora_peft.safetensors"), "PEFT", ""},
		{"ldm", keys("lora_unet_input_blocks_1_1_proj_in.lora_up.weight"), "kohya with LDM block names", "incomplete"},
		{"processors", keys("down_blocks.0.attn1.processor.to_q_lora.up.weight"), "attention processors of old diffusers", "LoRA"},
		{"mid-age", keys("unet.x.lora.up.weight"), "diffusers before PEFT", "LoRA"},
		{"sdxl", keys("lora_te2_x.lora_up.weight"), "kohya", "SDXL"},
		{"loha", keys("lora_unet_mid_block_attentions_0_proj_in.hada_w1_a"), "LyCORIS", "hada_w1_b"},
		{"checkpoint", tinySingle, "", "checkpoint"},
		{"something else", keys("x"), "", "no LoRA"},
	} {
		t.Run(c.name, func(t *testing.T) {
			i, err := lora.Inspect(c.path, targets)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(i.Forms, ", "); got != c.form {
				t.Errorf("form %q, want %q", got, c.form)
			}
			if info, err := os.Stat(c.path); err != nil || i.Bytes != info.Size() {
				t.Errorf("%d bytes (%v)", i.Bytes, err)
			}
			if (c.problem == "") != (i.Problem == nil) || i.Problem != nil && !strings.Contains(i.Problem.Error(), c.problem) {
				t.Errorf("problem %v, want %q", i.Problem, c.problem)
			}
			if (i.Adapter == nil) != (i.Problem != nil) || (i.ModelHash == "") != (i.Problem != nil) {
				t.Errorf("adapter %v, hash %q beside %v", i.Adapter, i.ModelHash, i.Problem)
			}
		})
	}
	if _, err := lora.Inspect(filepath.Join(goldens, "gone"), targets); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

// TestInspectHashes computes the hashes that Write stores, and sees where a file was changed behind their back.
func TestInspectHashes(t *testing.T) {
	targets := loratest.SD15Targets(t)
	var modules []lora.Module
	for _, target := range loratest.Standard(targets) {
		if target.Kind == weights.KindUNet {
			modules = append(modules, loratest.RandomModule(loratest.Rand(), target, 2))
		}
	}
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := lora.Write(path, modules, compute.F16, map[string]string{"ss_network_dim": "2", "modelspec.title": "x"}); err != nil {
		t.Fatal(err)
	}
	i, err := lora.Inspect(path, targets)
	if err != nil || i.Problem != nil {
		t.Fatal(err, i.Problem)
	}
	if i.ModelHash != i.Metadata["sshs_model_hash"] || i.LegacyHash != i.Metadata["sshs_legacy_hash"] || i.LegacyHash == "e3b0c442" {
		t.Errorf("computed %s and %s, stored %s and %s", i.ModelHash, i.LegacyHash, i.Metadata["sshs_model_hash"], i.Metadata["sshs_legacy_hash"])
	}
	if i.Types[weights.F16] != 3*192 || len(i.Types) != 1 {
		t.Errorf("types %v", i.Types)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file[1<<20+10000] ^= 1
	if err := os.WriteFile(path, file, 0o666); err != nil {
		t.Fatal(err)
	}
	i, err = lora.Inspect(path, targets)
	if err != nil || i.Problem != nil {
		t.Fatal(err, i.Problem)
	}
	if i.ModelHash == i.Metadata["sshs_model_hash"] || i.LegacyHash == i.Metadata["sshs_legacy_hash"] {
		t.Error("a changed byte is not noticed")
	}
}

func TestTagFrequency(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []lora.TagCount
		fails      bool
	}{
		{"none", "", nil, false},
		{"Python's none", "None", nil, false},
		{"empty", "{}", []lora.TagCount{}, false},
		{"two folders", `{"12_sks dog": {"red hat": 1, "dog": 2}, "1_dog": {"dog": 3, "b": 1, "\u00e9": 1}}`,
			[]lora.TagCount{{"dog", 5}, {"b", 1}, {"red hat", 1}, {"é", 1}}, false},
		{"damaged", `{"a": 3}`, nil, true},
		{"cut off", `{"a": {"b": 1`, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := lora.TagFrequency(map[string]string{"ss_tag_frequency": c.text})
			if (err != nil) != c.fails || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%v (%v), want %v", got, err, c.want)
			}
		})
	}
}

func FuzzTagFrequency(f *testing.F) {
	f.Add(`{"12_sks dog": {"red hat": 1, "dog": 2}}`)
	f.Add(`{"a": {"b": -9223372036854775808, "c": 1e3}, "a": null}`)
	f.Fuzz(func(t *testing.T, text string) {
		tags, err := lora.TagFrequency(map[string]string{"ss_tag_frequency": text})
		if err != nil && (tags != nil || !strings.HasPrefix(err.Error(), "lora: ")) {
			t.Fatalf("%v beside the error %v", tags, err)
		}
		if !slices.IsSortedFunc(tags, func(a, b lora.TagCount) int { return cmp.Compare(b.Count, a.Count) }) {
			t.Fatalf("not sorted: %v", tags)
		}
	})
}

// TestCheck counts and measures, and finds what is no number.
func TestCheck(t *testing.T) {
	targets := loratest.SD15Targets(t)
	var modules []lora.Module
	for _, target := range loratest.Standard(targets) {
		modules = append(modules, loratest.RandomModule(loratest.Rand(), target, 1))
	}
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := lora.Write(path, modules, compute.F16, nil); err != nil {
		t.Fatal(err)
	}
	report, err := lora.Check(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if report.Factors != 528 || report.Modules != 264 || len(report.Tensors) != 792 {
		t.Errorf("%d factors, %d modules, %d tensors, want 528, 264, 792", report.Factors, report.Modules, len(report.Tensors))
	}
	path = loratest.Write(t, []weights.Tensor{
		loratest.Tensor("lora_unet_a.lora_up.weight", lora.Factor{Shape: compute.Shape{2, 2}, Data: []float32{1, -3, 0.5, 1.5}}),
		loratest.Tensor("lora_unet_a.lora_down.weight", lora.Factor{Shape: compute.Shape{1, 2}, Data: []float32{2, -2}}),
		loratest.Tensor("lora_unet_a.alpha", lora.Factor{Shape: compute.Shape{}, Data: []float32{4}}),
		loratest.Tensor("b.lora_B.weight", lora.Factor{Shape: compute.Shape{0, 2}}),
		loratest.Tensor("c.lora_A.weight", lora.Factor{Shape: compute.Shape{1, 4}, Data: []float32{1, float32(math.NaN()), 2, float32(math.Inf(-1))}}),
	}, nil)
	report, err = lora.Check(t.Context(), path)
	wrong, ok := errors.AsType[*lora.NonFiniteError](err)
	if !ok || wrong.Key != "c.lora_A.weight" || wrong.Index != 1 {
		t.Errorf("the error is %v", err)
	}
	if report.Factors != 4 || report.Modules != 1 {
		t.Errorf("%d factors, %d modules, want 4 and 1", report.Factors, report.Modules)
	}
	got := map[string]string{}
	for _, c := range report.Tensors {
		got[c.Key] = fmt.Sprint(c.Factor, c.MeanAbs, c.MinAbs, c.NonFinite, c.First)
	}
	want := map[string]string{
		"lora_unet_a.lora_up.weight": "true 1.5 0.5 0 0", "lora_unet_a.lora_down.weight": "true 2 2 0 0", "lora_unet_a.alpha": "false 4 4 0 0",
		"b.lora_B.weight": "true 0 0 0 0", "c.lora_A.weight": "true 0.75 1 2 1",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("measured %v, want %v", got, want)
	}
}
