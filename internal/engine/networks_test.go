package engine_test

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/internal/engine"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/unet"
	"github.com/atelier-go/atelier/weights"
)

// folder is a copy of a model that a test may change.
type folder struct {
	*testing.T
	dir string
}

func copyOf(t *testing.T, kit string) folder {
	t.Helper()
	f := folder{t, t.TempDir()}
	if err := os.CopyFS(f.dir, os.DirFS(filepath.Join(golden.Root(t), "testdata", kit, "model"))); err != nil {
		t.Fatal(err)
	}
	return f
}

// put adds keys to a JSON file.
func (f folder) put(name string, keys map[string]any) {
	f.Helper()
	path := filepath.Join(f.dir, name)
	data, err := os.ReadFile(path)
	all := make(map[string]any)
	if err := errors.Join(err, json.Unmarshal(data, &all)); err != nil {
		f.Fatal(err)
	}
	maps.Copy(all, keys)
	data, err = json.Marshal(all)
	if err := errors.Join(err, os.WriteFile(path, data, 0o666)); err != nil {
		f.Fatal(err)
	}
}

// edit rewrites the tensors of a file.
func (f folder) edit(name string, change func(all []weights.Tensor) []weights.Tensor) {
	f.Helper()
	path := filepath.Join(f.dir, name)
	file, err := weights.OpenFile(path)
	if err != nil {
		f.Fatal(err)
	}
	var all []weights.Tensor
	for _, name := range file.Names() {
		x, err := file.Tensor(name)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, x)
	}
	if err := file.Close(); err != nil {
		f.Fatal(err)
	}
	out, err := os.Create(path)
	if err != nil {
		f.Fatal(err)
	}
	if err := errors.Join(weights.Encode(out, change(all), nil), out.Close()); err != nil {
		f.Fatal(err)
	}
}

// without leaves a tensor out.
func without(name string) func(all []weights.Tensor) []weights.Tensor {
	return func(all []weights.Tensor) []weights.Tensor {
		return slices.DeleteFunc(all, func(x weights.Tensor) bool { return x.Name == name })
	}
}

const (
	textWeights = "text_encoder/model.safetensors"
	unetWeights = "unet/diffusion_pytorch_model.safetensors"
	vaeWeights  = "vae/diffusion_pytorch_model.safetensors"
)

// TestOpen opens copies of a model in which something is another model's.
func TestOpen(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(f folder)
		says   []string // in the error, none for no error
	}{
		{"as it is", func(folder) {}, nil},
		{"tensors missing in two networks", func(f folder) {
			f.edit(textWeights, without("text_model.final_layer_norm.bias"))
			f.edit(vaeWeights, without("decoder.conv_out.bias"))
		}, []string{"text_model.final_layer_norm.bias", "decoder.conv_out.bias"}},
		{"a text encoder of another width", func(f folder) {
			if err := os.RemoveAll(filepath.Join(f.dir, "text_encoder")); err != nil {
				f.Fatal(err)
			}
			other := os.DirFS(filepath.Join(golden.Root(f), "testdata", "tiny-variant", "model", "text_encoder"))
			if err := os.CopyFS(filepath.Join(f.dir, "text_encoder"), other); err != nil {
				f.Fatal(err)
			}
		}, []string{"attends to vectors of 32", "makes them of 12", "different models"}},
		{"a larger tokenizer", func(f folder) {
			f.put("tokenizer/vocab.json", map[string]any{"personname</w>": 49408})
		}, []string{"knows 49409 tokens", "the text encoder 49408"}},
		{"no schedule there is", func(f folder) {
			f.put("scheduler/scheduler_config.json", map[string]any{"beta_schedule": "laplace"})
		}, []string{"scheduler_config.json", "laplace"}},
		{"one network's configuration and another's tensors", func(f folder) {
			f.put("unet/config.json", map[string]any{"norm_num_groups": 7})
			f.edit(vaeWeights, without("decoder.conv_out.bias"))
		}, []string{"norm_num_groups", "decoder.conv_out.bias"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := copyOf(t, "tiny-random")
			c.change(f)
			_, err := openFolder(t, f.dir)
			if (err != nil) != (len(c.says) > 0) {
				t.Fatalf("the error is %v", err)
			}
			for _, say := range c.says {
				if !strings.Contains(err.Error(), say) {
					t.Errorf("the error is %v, want %q in it", err, say)
				}
			}
		})
	}
}

func openFolder(t *testing.T, dir string) (*engine.Networks, error) {
	t.Helper()
	ckpt, err := weights.Open(dir, weights.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ckpt.Close() })
	return engine.Open(ckpt)
}

// mustOpen opens the networks of a kit's model after a change.
func mustOpen(t *testing.T, kit string, change func(f folder)) *engine.Networks {
	t.Helper()
	f := copyOf(t, kit)
	change(f)
	n, err := openFolder(t, f.dir)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestFromTextAlone asks for the channels of latents, and whether there is more that a UNet reads.
func TestFromTextAlone(t *testing.T) {
	if n := mustOpen(t, "tiny-random", func(folder) {}); n.LatentChannels() != 4 || n.FromTextAlone() != nil {
		t.Errorf("%d channels, %v", n.LatentChannels(), n.FromTextAlone())
	}
	n := mustOpen(t, "tiny-random", func(folder) {})
	config := n.UNet.Config()
	config.InChannels = 9 // latents, a mask and the latents of a picture
	var err error
	if n.UNet, err = unet.New(config, nil); err != nil {
		t.Fatal(err)
	}
	if err = n.FromTextAlone(); n.LatentChannels() != 4 || err == nil || !strings.Contains(err.Error(), "5 channels besides the latents' 4") {
		t.Errorf("%d channels, %v", n.LatentChannels(), err)
	}
}

// TestSchedule reads what the files say of noise and prediction.
func TestSchedule(t *testing.T) {
	scheduler := func(keys map[string]any) func(folder) {
		return func(f folder) { f.put("scheduler/scheduler_config.json", keys) }
	}
	for _, c := range []struct {
		name       string
		change     func(folder)
		zeroSNR    bool
		prediction string
	}{
		{"as it is", func(folder) {}, false, "epsilon"},
		{"zero SNR", scheduler(map[string]any{"rescale_betas_zero_snr": true}), true, "epsilon"},
		{"velocity", scheduler(map[string]any{"prediction_type": "v_prediction"}), false, "v_prediction"},
		{"no files", func(f folder) {
			if err := os.RemoveAll(filepath.Join(f.dir, "scheduler")); err != nil {
				f.Fatal(err)
			}
		}, false, "epsilon"},
	} {
		n := mustOpen(t, "tiny-random", c.change)
		if n.Schedule.ZeroTerminalSNR != c.zeroSNR || string(n.Prediction) != c.prediction {
			t.Errorf("%s: zero SNR %v, prediction %q", c.name, n.Schedule.ZeroTerminalSNR, n.Prediction)
		}
	}
}
