package lora_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/lora/internal/loratest"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/weights"
)

var (
	tinyFolder = filepath.Join("..", "testdata", "tiny-random", "model")
	tinySingle = filepath.Join("..", "testdata", "tiny-random", "tiny-random-ldm.safetensors")
)

// openCheckpoint opens a model of the tiny random model's shapes.
func openCheckpoint(t testing.TB, path string) *weights.Checkpoint {
	t.Helper()
	o := weights.Options{}
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		o.Config = tinyFolder
	}
	c, err := weights.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// component is one of a checkpoint's networks.
func component(t testing.TB, c *weights.Checkpoint, kind weights.Kind) *weights.Component {
	t.Helper()
	component, err := c.Component(kind)
	if err != nil {
		t.Fatal(err)
	}
	return component
}

// saveMerged saves a checkpoint with adapters merged into it.
func saveMerged(t testing.TB, c *weights.Checkpoint, typ compute.DType, adapters ...lora.Applied) string {
	t.Helper()
	o := weights.SaveOptions{Params: map[weights.Kind]compute.ParamSource{}, Metadata: lora.MergedMetadata(c, adapters...), Type: typ}
	if _, err := lora.TargetsOf(c); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []weights.Kind{weights.KindTextEncoder, weights.KindUNet} {
		var err error
		if o.Params[kind], err = lora.Merge(component(t, c, kind), kind, lora.MergeOptions{Type: typ}, adapters...); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "merged")
	if info, err := os.Stat(c.Path()); err == nil && !info.IsDir() {
		path += ".safetensors"
	}
	if err := c.Save(t.Context(), path, o); err != nil {
		t.Fatal(err)
	}
	return path
}

// floats are a parameter's numbers.
func floats(t testing.TB, p compute.ParamSource, name string) []float64 {
	t.Helper()
	typ, err := p.ParamType(name)
	if err != nil {
		t.Fatal(err)
	}
	data, err := p.ParamData(name)
	if err != nil {
		t.Fatal(err)
	}
	return float64s(weights.Tensor{DType: weights.DType(typ.DType.String()), Data: data}.Float32s())
}

// TestSavedMerge wants of a checkpoint with merged adapters, in both layouts, what merging at loading gives, to the byte,
// and after the opposite merge the first weights up to the two roundings.
func TestSavedMerge(t *testing.T) {
	targets := loratest.TinyTargets(t)
	for _, path := range []string{tinySingle, tinyFolder} {
		t.Run(filepath.Base(path), func(t *testing.T) {
			c := openCheckpoint(t, path)
			kohya := open(t, filepath.Join(loratest.TinyRandom(t), "goldens", "lora_kohya.safetensors"), targets)
			locon := open(t, filepath.Join(loratest.TinyRandom(t), "goldens", "lora_locon.safetensors"), targets)
			adapters := []lora.Applied{at(kohya, 0.6), at(locon, -0.3)}
			merged := openCheckpoint(t, saveMerged(t, c, compute.InvalidDType, adapters...))
			if got := merged.Metadata(); got["modelspec.merged_from"] == "" || got["modelspec.architecture"] != "stable-diffusion-v1" || got["format"] != "pt" {
				t.Errorf("metadata %v", got)
			}
			for _, kind := range weights.Kinds {
				is, was := component(t, merged, kind), component(t, c, kind)
				want, err := lora.Merge(was, kind, lora.MergeOptions{}, adapters...)
				if err != nil {
					t.Fatal(err)
				}
				changed := 0
				for _, name := range was.Names() {
					a, err := is.ParamData(name)
					if err != nil {
						t.Fatal(err)
					}
					b, err := want.ParamData(name)
					if err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(a, b) {
						t.Fatalf("%s %s differs", kind, name)
					}
					if old, _ := was.ParamData(name); !bytes.Equal(a, old) {
						changed++
					}
				}
				if (changed > 0) != (kind != weights.KindVAE) {
					t.Errorf("%d parameters of the %s changed", changed, kind)
				}
			}
			back := openCheckpoint(t, saveMerged(t, merged, compute.InvalidDType, at(kohya, -0.6), at(locon, 0.3)))
			for _, m := range kohya.Modules {
				was, between := floats(t, component(t, c, m.Kind), m.Param()), floats(t, component(t, merged, m.Kind), m.Param())
				for i, v := range floats(t, component(t, back, m.Kind), m.Param()) {
					const half = 1.0 / 1024 // of F16: two roundings of half an ulp each
					if math.Abs(v-was[i]) > half*(math.Abs(was[i])+math.Abs(between[i]))+1e-7 {
						t.Fatalf("%s: element %d is %g after merging and unmerging, was %g", m.Name, i, v, was[i])
					}
				}
			}
		})
	}
}

// fineTuned is the tiny random model's single file with changes of some weights, all in F32, so that small ones are not lost.
func fineTuned(t *testing.T, change func(name string, values []float32)) *weights.Checkpoint {
	t.Helper()
	f, err := weights.OpenFile(tinySingle)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var tensors []weights.Tensor
	for _, key := range f.Names() {
		x, err := f.Tensor(key)
		if err != nil {
			t.Fatal(err)
		}
		values := x.Float32s()
		change(key, values)
		tensors = append(tensors, loratest.Tensor(key, lora.Factor{Shape: x.Shape, Data: values}))
	}
	return openCheckpoint(t, loratest.Write(t, tensors, nil))
}

// TestExtractRestores merges adapters of known rank into a checkpoint in F32 and wants them back.
func TestExtractRestores(t *testing.T) {
	targets := loratest.TinyTargets(t)
	c := openCheckpoint(t, tinySingle)
	for _, file := range []string{"lora_kohya", "lora_locon"} {
		t.Run(file, func(t *testing.T) {
			a := open(t, filepath.Join(loratest.TinyRandom(t), "goldens", file+".safetensors"), targets)
			rank, conv := 1, 0
			for i := range a.Modules {
				rank = max(rank, a.Modules[i].Rank())
				if len(a.Modules[i].Shape) == 4 && a.Modules[i].Shape[2] > 1 {
					conv = max(conv, a.Modules[i].Rank())
				}
			}
			tuned := openCheckpoint(t, saveMerged(t, c, compute.F32, at(a, 1)))
			var done, total int
			got, err := lora.Extract(t.Context(), c, tuned, lora.ExtractOptions{
				Dim: rank, ConvDim: conv, MinDiff: -1, ClampQuantile: 1, Progress: func(d, n int) { done, total = d, n },
			})
			if err != nil {
				t.Fatal(err)
			}
			if done != len(got.Modules) || total != done {
				t.Errorf("progress %d of %d for %d modules", done, total, len(got.Modules))
			}
			found := map[string]lora.Module{}
			for _, m := range got.Modules {
				found[m.Key()] = m
				if loratest.LowRank(m).Scale() != 1 || m.Rank() > rank {
					t.Errorf("%s: rank %d, scale %v", m.Name, m.Rank(), loratest.LowRank(m).Scale())
				}
			}
			for _, m := range a.Modules {
				was, is := floats(t, component(t, c, m.Kind), m.Param()), floats(t, component(t, tuned, m.Kind), m.Param())
				largest := 0.0
				for i := range is {
					largest = max(largest, math.Abs(is[i]), math.Abs(was[i]))
				}
				want := product(m, 1, 0)
				extracted, ok := found[m.Key()]
				if !ok {
					t.Fatalf("%s is not extracted", m.Name)
				}
				for i, v := range product(extracted, 1, 0) {
					// W+ΔW is rounded to float32 at the size of the weights
					if math.Abs(v-want[i]) > 2e-6*largest {
						t.Fatalf("%s: element %d is %g, want %g; weights up to %g", m.Name, i, v, want[i], largest)
					}
				}
			}
			if got.Metadata["modelspec.merged_from"] == "" || got.Metadata["ss_network_module"] != "networks.lora" {
				t.Errorf("metadata %v", got.Metadata)
			}
		})
	}
}

// TestExtractTextEncoder leaves the text encoder out while nothing in it differs by more than min_diff.
func TestExtractTextEncoder(t *testing.T) {
	c := openCheckpoint(t, tinySingle)
	text, net := 0, 0
	for _, target := range loratest.Standard(loratest.TinyTargets(t)) {
		if target.Kind == weights.KindTextEncoder {
			text++
		} else {
			net++
		}
	}
	const layer = "cond_stage_model.transformer.text_model.encoder.layers.1.mlp.fc2.weight"
	for _, tt := range []struct {
		name    string
		all     float32 // added to every weight of the layer
		one     float32 // and to one of them
		minDiff float64
		want    int
	}{
		{"by 0.005", 0.005, 0, 0, net},
		{"one element by 0.02", 0, 0.02, 0, net + text},
		{"one element by -0.02", 0.005, -0.025, 0, net + text},
		{"not at all", 0, 0, 0, net},
		{"not at all, always", 0, 0, -1, net + text},
		{"by 0.005, asked for 0.001", 0.005, 0, 0.001, net + text},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tuned := fineTuned(t, func(key string, values []float32) {
				if key == layer {
					for i := range values {
						values[i] += tt.all
					}
					values[7] += tt.one
				}
			})
			a, err := lora.Extract(t.Context(), c, tuned, lora.ExtractOptions{MinDiff: tt.minDiff})
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Modules) != tt.want {
				t.Errorf("%d modules, want %d", len(a.Modules), tt.want)
			}
			for _, m := range a.Modules {
				if m.Rank() != min(4, m.Shape[0], m.Shape[1:].Elements()) {
					t.Errorf("%s: rank %d", m.Name, m.Rank())
				}
			}
		})
	}
}

func TestExtractErrors(t *testing.T) {
	c := openCheckpoint(t, tinySingle)
	nan := fineTuned(t, func(key string, values []float32) {
		if strings.HasSuffix(key, "layers.0.mlp.fc1.weight") {
			values[3] = float32(math.NaN())
		}
	})
	portrait, err := weights.Open(filepath.Join("..", "tinyportrait", "model"), weights.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer portrait.Close()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name, say string
		ctx       context.Context
		tuned     *weights.Checkpoint
		o         lora.ExtractOptions
	}{
		{"dim", "dim is -1", t.Context(), c, lora.ExtractOptions{Dim: -1}},
		{"conv_dim", "conv_dim", t.Context(), c, lora.ExtractOptions{ConvDim: 1 << 20}},
		{"quantile", "clamp_quantile", t.Context(), c, lora.ExtractOptions{ClampQuantile: 1.5}},
		{"min_diff", "min_diff", t.Context(), c, lora.ExtractOptions{MinDiff: math.NaN()}},
		{"NaN", "damaged", t.Context(), nan, lora.ExtractOptions{}},
		{"another model", "different models", t.Context(), portrait, lora.ExtractOptions{}},
		{"interrupted", "canceled", cancelled, c, lora.ExtractOptions{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := lora.Extract(tt.ctx, c, tt.tuned, tt.o)
			if err == nil || !strings.Contains(err.Error(), tt.say) {
				t.Errorf("the error %v does not say %q", err, tt.say)
			}
		})
	}
	if _, err := lora.Extract(cancelled, c, c, lora.ExtractOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
