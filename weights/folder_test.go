package weights

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/weights/pickle"
)

// copyTiny is a copy of the tiny folder that a test may spoil.
func copyTiny(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(dir, os.DirFS(tinyFolder)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestFolderVariants(t *testing.T) {
	for _, tt := range []struct {
		name    string
		names   []string
		variant string
		want    string
	}{
		{"plain", []string{"model.fp16.safetensors", "model.safetensors"}, "", "model.safetensors"},
		{"variant", []string{"model.fp16.safetensors", "model.safetensors"}, "fp16", "model.fp16.safetensors"},
		{"variant absent", []string{"model.safetensors", "model.fp16.safetensors"}, "bf16", "model.safetensors"},
		{"only a variant", []string{"model.non_ema.safetensors", "model.fp16.safetensors"}, "", "model.fp16.safetensors"},
		{"only an unknown variant", []string{"model.q.safetensors"}, "", "model.q.safetensors"},
		{"index", []string{"model.safetensors.index.json", "model-00001-of-00002.safetensors"}, "", "model.safetensors.index.json"},
		{"index of a variant", []string{"diffusion_pytorch_model.safetensors.index.fp16.json", "diffusion_pytorch_model.fp16-00001-of-00002.safetensors"}, "", "diffusion_pytorch_model.safetensors.index.fp16.json"},
		{"legacy index", []string{"model.safetensors.fp16.index.json"}, "fp16", "model.safetensors.fp16.index.json"},
		{"shard without index", []string{"model.fp16-00001-of-00002.safetensors"}, "", ""},
		{"PyTorch's", []string{"pytorch_model.bin"}, "", "pytorch_model.bin"},
		{"PyTorch's of a variant", []string{"pytorch_model.bin", "pytorch_model.fp16.bin"}, "fp16", "pytorch_model.fp16.bin"},
		{"both", []string{"pytorch_model.bin", "model.fp16.safetensors"}, "", "model.fp16.safetensors"},
		{"shard of PyTorch's", []string{"pytorch_model-00001-of-00002.bin"}, "", ""},
	} {
		if got := ChooseFile(tt.names, tt.variant); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}

	dir := copyTiny(t)
	plain := filepath.Join(dir, "unet", "diffusion_pytorch_model.safetensors")
	if err := os.Rename(plain, filepath.Join(dir, "unet", "diffusion_pytorch_model.fp16.safetensors")); err != nil {
		t.Fatal(err)
	}
	assertSame(t, component(t, mustOpen(t, dir, Options{}), KindUNet), component(t, mustOpen(t, tinyFolder, Options{}), KindUNet))
}

func TestShards(t *testing.T) {
	vae := component(t, mustOpen(t, tinyFolder, Options{}), KindVAE)
	tensors := tensorsOf(t, vae, func(n string) string { return n })
	const first, second = "diffusion_pytorch_model-00001-of-00002.safetensors", "diffusion_pytorch_model-00002-of-00002.safetensors"
	half := len(tensors) / 2
	shardOf := map[string]string{}
	for i, tensor := range tensors {
		shardOf[tensor.Name] = map[bool]string{true: first, false: second}[i < half]
	}
	for _, tt := range []struct {
		name  string
		spoil func(shardOf map[string]string) (indexText string)
		want  string
	}{
		{"sound", nil, ""},
		{"tensor not in its shard", func(m map[string]string) string { m[tensors[0].Name] = second; return "" }, "is not in it"},
		{"missing shard", func(m map[string]string) string { m["x"] = "y.safetensors"; return "" }, "y.safetensors"},
		{"parent folder", func(m map[string]string) string { m["x"] = "../" + first; return "" }, "plain name"},
		{"backslash", func(m map[string]string) string { m["x"] = `..\` + first; return "" }, "plain name"},
		{"absolute", func(m map[string]string) string { m["x"] = "/etc/passwd.safetensors"; return "" }, "plain name"},
		{"a shard of another kind", func(m map[string]string) string { m["x"] = "a.bin"; return "" }, "plain name"},
		{"duplicate", func(map[string]string) string { return `{"weight_map":{"a":"` + first + `","a":"` + second + `"}}` }, "appears twice"},
		{"number", func(map[string]string) string { return `{"weight_map":{"a":1}}` }, "not a string"},
		{"empty map", func(map[string]string) string { return `{"metadata":{"total_size":1},"weight_map":{}}` }, "no weight_map"},
		{"not JSON", func(map[string]string) string { return `{` }, "EOF"},
		{"text after", func(map[string]string) string { return `{"weight_map":{"a":"` + first + `"}} x` }, "text after"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			index, text := maps.Clone(shardOf), ""
			if tt.spoil != nil {
				text = tt.spoil(index)
			}
			if text == "" {
				b, err := json.Marshal(map[string]any{"metadata": map[string]int{"total_size": 1}, "weight_map": index})
				if err != nil {
					t.Fatal(err)
				}
				text = string(b)
			}
			for name, part := range map[string][]Tensor{first: tensors[:half], second: tensors[half:]} {
				if err := Write(filepath.Join(dir, name), part, nil); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(dir, "diffusion_pytorch_model.safetensors.index.json"), []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
			c, err := Open(dir, Options{})
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			assertSame(t, component(t, c, KindVAE), vae)
		})
	}

	t.Run("tensor in two shards", func(t *testing.T) {
		dir := t.TempDir()
		for _, name := range []string{first, second} {
			if err := Write(filepath.Join(dir, name), tensors, nil); err != nil {
				t.Fatal(err)
			}
		}
		b, err := json.Marshal(map[string]any{"weight_map": shardOf})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "diffusion_pytorch_model.safetensors.index.json"), b, 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "as well") {
			t.Errorf("error %v", err)
		}
	})
}

// TestPickledShards opens what diffusers saved with safe_serialization=False, in several files.
func TestPickledShards(t *testing.T) {
	dir := t.TempDir()
	shards := map[string]string{"torch2.0.pt": "pytorch_model-00001-of-00002.bin", "torch2.0-embedding.pt": "pytorch_model-00002-of-00002.bin"}
	shardOf := map[string]string{}
	for source, name := range shards {
		data, err := os.ReadFile(filepath.Join("pickle", "testdata", source))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
		f, err := OpenFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, tensor := range f.Names() {
			shardOf[tensor] = name
		}
		f.Close()
	}
	index, err := json.Marshal(map[string]any{"metadata": map[string]int{"total_size": 1}, "weight_map": shardOf})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pytorch_model.bin.index.json"), index, 0o666); err != nil {
		t.Fatal(err)
	}
	files, err := folder{os.DirFS(dir), dir}.openWeights("")
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(files)
	names := 0
	for _, f := range files {
		names += len(f.Names())
	}
	if len(files) != 2 || names != len(shardOf) || names < 2 {
		t.Errorf("%d files with %d tensors, want 2 with %d", len(files), names, len(shardOf))
	}
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{"total_size":1},"weight_map":{"a":"model-00001-of-00002.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"../x.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"pytorch_model-00001-of-00002.bin"}}`))
	f.Add([]byte(`{"weight_map":{"a":"x.safetensors","a":"y.safetensors"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		shardOf, err := ParseIndex(b)
		if err != nil {
			return
		}
		for _, shard := range shardOf {
			if filepath.Base(shard) != shard || !filepath.IsLocal(shard) {
				t.Fatalf("shard %q leads out of the folder", shard)
			}
		}
	})
}

func TestFolderProblems(t *testing.T) {
	write := func(path, text string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	hostile := func(t *testing.T, dir string) {
		t.Helper()
		if err := os.Remove(filepath.Join(dir, "unet/diffusion_pytorch_model.safetensors")); err != nil {
			t.Fatal(err)
		}
		write("unet/diffusion_pytorch_model.bin", "\x80\x02cos\nsystem\n.")(t, dir)
	}
	for _, tt := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		want  string
	}{
		{"hostile weights", hostile, "os.system"},
		{"large configuration", write("unet/config.json", strings.Repeat(" ", maxConfigBytes+1)), "more than"},
		{"broken model_index", write("model_index.json", "{"), "model_index.json"},
		{"absent by model_index", write("model_index.json", `{"unet":[null,null]}`), "no unet in it"},
		{"SDXL by class", write("model_index.json", `{"_class_name":"StableDiffusionXLPipeline"}`), "SDXL"},
		{"SDXL by folder", write("text_encoder_2/config.json", "{}"), "SDXL"},
		{"truncated weights", write("unet/diffusion_pytorch_model.safetensors", "\x10\x00\x00\x00\x00\x00\x00\x00{"), "truncated"},
		{"broken scheduler", write("scheduler/scheduler_config.json", "["), "scheduler_config.json"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := copyTiny(t)
			tt.spoil(t, dir)
			c, err := Open(dir, Options{})
			if err == nil {
				defer c.Close()
				_, err = c.UNet()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("error %v, want %q and the folder's name", err, tt.want)
			}
		})
	}
	for name, want := range map[string]string{"model.safetensors.ckpt": "give the path", "v1.ckpt": "give the path", "x.pt": "give the path", "readme.txt": "not a model"} {
		dir := t.TempDir()
		write(name, "x")(t, dir)
		if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("folder with only %s: %v", name, err)
		}
	}
	dir := t.TempDir()
	write("dreamy.safetensors", "x")(t, dir)
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "dreamy.safetensors") {
		t.Errorf("folder with a single file: %v", err)
	}
	write("v1.ckpt", "\x80\x02cos\nsystem\n.")(t, dir)
	_, err := Open(filepath.Join(dir, "v1.ckpt"), Options{})
	if refused, ok := errors.AsType[*pickle.RefusedError](err); !ok || refused.Name != "os.system" || !strings.Contains(err.Error(), "v1.ckpt") {
		t.Errorf("hostile pickle: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "nowhere"), Options{}); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("missing file: %v", err)
	}
}
