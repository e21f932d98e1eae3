package weights

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/f16"
)

// doubled is a component of which one parameter is twice what it was.
type doubled struct {
	*Component
	name string
}

func (d doubled) ParamData(name string) ([]byte, error) {
	data, err := d.Component.ParamData(name)
	if err != nil || name != d.name {
		return data, err
	}
	out := slices.Clone(data)
	for i := 0; i < len(out); i += 2 {
		h := f16.FromF32(2 * f16.ToF32(uint16(out[i])|uint16(out[i+1])<<8))
		out[i], out[i+1] = byte(h), byte(h>>8)
	}
	return out, nil
}

const changedName = "mid_block.attentions.0.proj_in.weight"

// TestSaveSingleFile wants the keys, types and bytes of the input but for the changed parameter.
func TestSaveSingleFile(t *testing.T) {
	c := mustOpen(t, tinySingle, Options{})
	unet := component(t, c, KindUNet)
	to := filepath.Join(t.TempDir(), "out.safetensors")
	steps, last := 0, int64(0)
	err := c.Save(t.Context(), to, SaveOptions{
		Params: map[Kind]compute.ParamSource{KindUNet: doubled{unet, changedName}}, Metadata: map[string]string{"modelspec.title": "x"},
		Progress: func(done, total int64) {
			if steps++; done <= last || done > total {
				t.Errorf("progress %d after %d of %d", done, last, total)
			}
			last = done
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	in, err := OpenFile(tinySingle)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := OpenFile(to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if got, want := slices.Sorted(slices.Values(out.Names())), slices.Sorted(slices.Values(in.Names())); !slices.Equal(got, want) {
		t.Fatalf("%d keys, want %d", len(got), len(want))
	}
	if steps != len(in.Names()) {
		t.Errorf("%d progress reports for %d tensors", steps, len(in.Names()))
	}
	if got := out.Metadata(); !maps.Equal(got, map[string]string{"modelspec.title": "x"}) {
		t.Errorf("metadata %v", got)
	}
	changed := KindUNet.LDMPrefix() + KindUNet.LDM(changedName)
	for _, key := range in.Names() {
		want, _ := in.Tensor(key)
		got, err := out.Tensor(key)
		if err != nil {
			t.Fatal(err)
		}
		if key == changed {
			for i, v := range want.Float32s() {
				if got.Float32s()[i] != 2*v {
					t.Fatalf("%s: element %d is %v, want %v", key, i, got.Float32s()[i], 2*v)
				}
			}
			continue
		}
		if got.DType != want.DType || !got.Shape.Equal(want.Shape) || !bytes.Equal(got.Data, want.Data) {
			t.Fatalf("%s: %s%v, want %s%v; bytes equal: %v", key, got.DType, got.Shape, want.DType, want.Shape, bytes.Equal(got.Data, want.Data))
		}
	}
}

// TestSaveUnknownKeys wants tensors of no component kept, whatever their type, and a type chosen for all parameters.
func TestSaveUnknownKeys(t *testing.T) {
	c := mustOpen(t, tinySingle, Options{})
	unet := component(t, c, KindUNet)
	tensors := tensorsOf(t, unet, func(n string) string { return KindUNet.LDMPrefix() + KindUNet.LDM(n) })
	tensors = append(tensors, Tensor{"betas", F64, compute.Shape{1}, make([]byte, 8)}, Tensor{"model_ema.decay", F32, compute.Shape{}, []byte{1, 2, 3, 4}},
		Tensor{"num_updates", I64, compute.Shape{}, []byte{1, 2, 3, 4, 5, 6, 7, 8}})
	from, to := filepath.Join(t.TempDir(), "in.safetensors"), filepath.Join(t.TempDir(), "out.safetensors")
	if err := Write(from, tensors, map[string]string{"a": "b"}); err != nil {
		t.Fatal(err)
	}
	if err := mustOpen(t, from, Options{}).Save(t.Context(), to, SaveOptions{Type: compute.F32}); err != nil {
		t.Fatal(err)
	}
	out, err := OpenFile(to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if got := out.Metadata(); !maps.Equal(got, map[string]string{"a": "b"}) {
		t.Errorf("metadata %v", got)
	}
	for _, want := range tensors {
		got, err := out.Tensor(want.Name)
		if err != nil {
			t.Fatal(err)
		}
		if want.DType == F16 {
			if got.DType != F32 || !slices.Equal(got.Float32s(), want.Float32s()) {
				t.Fatalf("%s: %s, or other numbers", want.Name, got.DType)
			}
		} else if got.DType != want.DType || !bytes.Equal(got.Data, want.Data) {
			t.Errorf("%s: %s %v, want %s %v", want.Name, got.DType, got.Data, want.DType, want.Data)
		}
	}
}

// TestSaveFolder saves a folder with everything that belongs to it, and no weights that are not the ones opened.
func TestSaveFolder(t *testing.T) {
	dir := copyTiny(t)
	for name, content := range map[string]string{
		"unet/diffusion_pytorch_model.fp16.safetensors":            "other weights",
		"unet/diffusion_pytorch_model.fp16.safetensors.index.json": `{"weight_map": {"a": "gone.safetensors"}}`,
		"v1-5-pruned.ckpt":                 "other weights",
		"safety_checker/model.safetensors": "kept",
		"feature_extractor/config.json":    "{}",
		".cache/x":                         "hidden",
		"README.md":                        "read me",
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(content), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	c := mustOpen(t, dir, Options{})
	unet := component(t, c, KindUNet)
	to := filepath.Join(t.TempDir(), "merged")
	o := SaveOptions{Params: map[Kind]compute.ParamSource{KindUNet: doubled{unet, changedName}}, Metadata: map[string]string{"modelspec.title": "x"}}
	if err := c.Save(t.Context(), to, o); err != nil {
		t.Fatal(err)
	}
	var got []string
	err := fs.WalkDir(os.DirFS(to), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			got = append(got, path)
		}
		return err
	})
	want := []string{
		"README.md", "feature_extractor/config.json", "model_index.json", "safety_checker/model.safetensors", "scheduler/scheduler_config.json",
		"text_encoder/config.json", "text_encoder/model.safetensors", "tokenizer/merges.txt", "tokenizer/special_tokens_map.json",
		"tokenizer/tokenizer_config.json", "tokenizer/vocab.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors",
		"vae/config.json", "vae/diffusion_pytorch_model.safetensors",
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("files %q (%v), want %q", got, err, want)
	}
	saved := mustOpen(t, to, Options{})
	assertSame(t, component(t, saved, KindVAE), component(t, c, KindVAE))
	assertSame(t, component(t, saved, KindTextEncoder), component(t, c, KindTextEncoder))
	was, _ := unet.ParamData(changedName)
	is, err := component(t, saved, KindUNet).ParamData(changedName)
	if err != nil || bytes.Equal(is, was) {
		t.Errorf("the UNet is not the changed one (%v)", err)
	}
	if got := component(t, saved, KindUNet).params[changedName].file.Metadata(); got["modelspec.title"] != "x" {
		t.Errorf("metadata of the UNet %v", got)
	}
	if err := c.Save(t.Context(), to, o); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("over a folder: %v", err)
	}
	// a folder inside an archive, or embedded, has its files only in fs.FS
	embedded, err := OpenFS(os.DirFS(dir), "model", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer embedded.Close()
	again := filepath.Join(t.TempDir(), "again")
	if err := embedded.Save(t.Context(), again, SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	assertSame(t, component(t, mustOpen(t, again, Options{}), KindUNet), unet)
}

// failing is a component that cannot be read from some point on.
type failing struct {
	*Component
	left int
}

func (f *failing) ParamData(name string) ([]byte, error) {
	if f.left--; f.left < 0 {
		return nil, errors.New("the disk is gone")
	}
	return f.Component.ParamData(name)
}

// TestSaveFails wants an error that says why, and nothing left or changed, in a single file and a folder.
func TestSaveFails(t *testing.T) {
	single, dir := mustOpen(t, tinySingle, Options{}), copyTiny(t)
	folder := mustOpen(t, dir, Options{})
	other := mustOpen(t, dir, Options{VAE: tinySingle})
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	huge := &huge{Component: component(t, single, KindUNet)}
	for _, c := range []struct {
		name, say string
		ctx       context.Context
		from      *Checkpoint
		o         SaveOptions
	}{
		{"interrupted", "canceled", cancelled, single, SaveOptions{}},
		{"interrupted, folder", "canceled", cancelled, folder, SaveOptions{}},
		{"unreadable", "the disk is gone", t.Context(), single, SaveOptions{Params: map[Kind]compute.ParamSource{KindUNet: &failing{component(t, single, KindUNet), 5}}}},
		{"unreadable, folder", "the disk is gone", t.Context(), folder, SaveOptions{Params: map[Kind]compute.ParamSource{KindUNet: &failing{component(t, folder, KindUNet), 5}}}},
		{"too large", "F32 or BF16", t.Context(), single, SaveOptions{Type: compute.F16, Params: map[Kind]compute.ParamSource{KindUNet: huge}}},
		{"type", "want F32", t.Context(), single, SaveOptions{Type: compute.I32}},
		{"parts of two files", "open it without", t.Context(), other, SaveOptions{}},
		{"another model", "no parameter", t.Context(), single, SaveOptions{Params: map[Kind]compute.ParamSource{KindUNet: component(t, single, KindVAE)}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			to := filepath.Join(dir, "out.safetensors")
			if c.from == single {
				if err := os.WriteFile(to, []byte("old"), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			err := c.from.Save(c.ctx, to, c.o)
			if err == nil || !strings.HasPrefix(err.Error(), "weights: ") || !strings.Contains(err.Error(), c.say) {
				t.Errorf("the error %v does not say %q", err, c.say)
			}
			left, _ := os.ReadDir(dir)
			if c.from == single {
				if old, err := os.ReadFile(to); err != nil || string(old) != "old" || len(left) != 1 {
					t.Errorf("%d files, the old one is %q (%v)", len(left), old, err)
				}
			} else if len(left) > 0 {
				t.Errorf("%s was left behind", left[0].Name())
			}
		})
	}
	if err := folder.Save(t.Context(), filepath.Join(dir, "unet", "diffusion_pytorch_model.safetensors"), SaveOptions{}); err == nil || !strings.Contains(err.Error(), "read from it") {
		t.Errorf("onto its own file: %v", err)
	}
}

// huge has parameters as F32, one of them beyond F16.
type huge struct{ *Component }

func (h *huge) ParamType(name string) (compute.Type, error) {
	t, err := h.Component.ParamType(name)
	t.DType = compute.F32
	return t, err
}

func (h *huge) ParamData(name string) ([]byte, error) {
	t, err := h.ParamType(name)
	data := make([]byte, t.Bytes())
	if err == nil && name == changedName {
		bits := math.Float32bits(1e6)
		data[0], data[1], data[2], data[3] = byte(bits), byte(bits>>8), byte(bits>>16), byte(bits>>24)
	}
	return data, err
}

// TestSaveEightBits refuses 8-bit floats and widens them when a type is given.
func TestSaveEightBits(t *testing.T) {
	header := `{"model.diffusion_model.input_blocks.0.0.bias":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}`
	header += strings.Repeat(" ", (8-len(header)%8)%8)
	file := append([]byte{byte(len(header)), 0, 0, 0, 0, 0, 0, 0}, header...)
	from, to := filepath.Join(t.TempDir(), "in.safetensors"), filepath.Join(t.TempDir(), "out.safetensors")
	if err := os.WriteFile(from, append(file, 0x38, 0xb8), 0o666); err != nil {
		t.Fatal(err)
	}
	c := mustOpen(t, from, Options{})
	if err := c.Save(t.Context(), to, SaveOptions{}); err == nil || !strings.Contains(err.Error(), "save as F16") {
		t.Errorf("without a type: %v", err)
	}
	if err := c.Save(t.Context(), to, SaveOptions{Type: compute.BF16}); err != nil {
		t.Fatal(err)
	}
	out, err := OpenFile(to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	x, err := out.Tensor("model.diffusion_model.input_blocks.0.0.bias")
	if err != nil || x.DType != BF16 || !slices.Equal(x.Float32s(), []float32{1, -1}) {
		t.Errorf("%v: %s %v", err, x.DType, x.Float32s())
	}
}
