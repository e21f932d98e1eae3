package sd

import (
	"bytes"
	"context"
	"image"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/ref"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sd/infotext"
	"github.com/atelier-go/atelier/weights"
)

// vaeFileOf writes the VAE of the smallest model with brighter pictures, and returns the first digits of its hash.
func vaeFileOf(t *testing.T, path string, brighter float32) (hash string) {
	t.Helper()
	ckpt, err := weights.Open(tinyRandom(t), weights.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ckpt.Close()
	params, err := ckpt.VAE()
	if err != nil {
		t.Fatal(err)
	}
	var tensors []weights.Tensor
	for _, name := range params.Names() {
		typ, _ := params.ParamType(name)
		data, err := params.ParamData(name)
		if err != nil {
			t.Fatal(err)
		}
		values := make([]float32, typ.Shape.Elements())
		weights.Widen(values, data, typ.DType)
		if name == "decoder.conv_out.bias" {
			for i := range values {
				values[i] += brighter
			}
		}
		wide := make([]byte, 4*len(values))
		weights.Narrow(wide, values, compute.F32)
		tensors = append(tensors, weights.Tensor{Name: name, DType: "F32", Shape: typ.Shape, Data: wide})
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := weights.Write(path, tensors, nil); err != nil {
		t.Fatal(err)
	}
	hash, err = weights.HashFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return hash[:modelHash]
}

// TestVAEs makes pictures by VAEs of all names, and again from their texts.
func TestVAEs(t *testing.T) {
	dir := t.TempDir()
	hash := vaeFileOf(t, filepath.Join(dir, "below", "bright.safetensors"), 0.5)
	ownHash := vaeFileOf(t, filepath.Join(dir, "model.vae.safetensors"), 0.25)
	embeddingFile(t, filepath.Join(dir, "misfit.safetensors"), "decoder.conv_in.weight", []int{1}, []float32{1})
	p := openTinyWith(t, openCPU(t), Options{VAEDirs: []string{dir}})
	pictures := make(map[string]*image.NRGBA)
	for _, c := range []struct{ name, vae, hash string }{
		{"None", "", ""}, {"", "model.vae.safetensors", ownHash}, {"Automatic", "model.vae.safetensors", ownHash},
		{"bright", "bright.safetensors", hash}, {"bright.safetensors", "bright.safetensors", hash},
	} {
		r := small(func(r *Request) { r.VAE = c.name })
		if _, err := p.Memory(r); err != nil {
			t.Errorf("%q: %v", c.name, err)
		}
		result := generate(t, p, r)
		pictures[c.name] = result.Pictures[0].Image
		text := infotext.Parse(result.Pictures[0].Infotext)
		name, _ := text.Get("VAE")
		digits, _ := text.Get("VAE hash")
		if name != c.vae || digits != c.hash {
			t.Errorf("%q: VAE %q, hash %q, want %q, %q", c.name, name, digits, c.vae, c.hash)
		}
		again, left, err := FromInfotext(text)
		if err != nil || len(left) > 0 || again.VAE != c.vae {
			t.Errorf("%q is read back as %q, %v, %v", c.name, again.VAE, left, err)
		}
	}
	for _, c := range []struct {
		a, b   string
		differ bool
	}{{"", "Automatic", false}, {"bright", "bright.safetensors", false}, {"None", "", true}, {"None", "bright", true}, {"", "bright", true}} {
		if d := difference(pictures[c.a], pictures[c.b]); (d > 0) != c.differ {
			t.Errorf("the pictures of %q and %q differ by %d/255", c.a, c.b, d)
		}
	}
	for name, want := range map[string]string{"zebra": `no VAE called "zebra"`, "misfit": "misfit.safetensors"} {
		_, err := p.Generate(t.Context(), small(func(r *Request) { r.VAE = name }))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
		if fields := invalid.Fields(err); name == "zebra" && (len(fields) != 1 || fields[0].Field != "Request.VAE") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestGivenVAE opens a pipeline with a VAE, which goes before those that are found by name.
func TestGivenVAE(t *testing.T) {
	dir := t.TempDir()
	given := filepath.Join(dir, "given.safetensors")
	hash := vaeFileOf(t, given, 0.5)
	vaeFileOf(t, filepath.Join(dir, "vaes", "model.vae.safetensors"), 0.25)
	p := openTinyWith(t, openCPU(t), Options{VAEDirs: []string{filepath.Join(dir, "vaes")}, Weights: weights.Options{VAE: given, Config: tinyRandom(t)}})
	plain := generate(t, openTiny(t, openCPU(t)), small(nil)).Pictures[0].Image
	for name, want := range map[string]string{"": "given.safetensors", "Automatic": "given.safetensors", "given": "given.safetensors", "None": ""} {
		picture := generate(t, p, small(func(r *Request) { r.VAE = name })).Pictures[0]
		text := infotext.Parse(picture.Infotext)
		got, _ := text.Get("VAE")
		if digits, _ := text.Get("VAE hash"); got != want || (want != "" && digits != hash) {
			t.Errorf("%q: VAE %q, hash %q, want %q", name, got, digits, want)
		}
		if d := difference(picture.Image, plain); (d == 0) != (want == "") {
			t.Errorf("%q: the picture differs from the checkpoint's by %d/255", name, d)
		}
	}
}

// TestTAESD decodes and previews with a tiny autoencoder, and with none.
func TestTAESD(t *testing.T) {
	dir := t.TempDir()
	copyFile(t, filepath.Join(dir, "taesd_decoder.pth"), filepath.Join(golden.Root(t), "vae", "testdata", "taesd_decoder.pth"))
	p := openTinyWith(t, openCPU(t), Options{VAEDirs: []string{dir}})
	r := small(func(r *Request) { r.Decoder = TAESD })
	if _, err := p.Memory(r); err != nil {
		t.Error(err)
	}
	for step, err := range p.Steps(t.Context(), r) {
		if err != nil {
			t.Fatal(err)
		}
		for by, size := range map[Autoencoder]image.Point{FullVAE: {40, 24}, TAESD: {40, 24}, ApproxCheap: {5, 3}} {
			if previews, err := step.Preview(t.Context(), by); err != nil || len(previews) != 1 || previews[0].Rect.Size() != size {
				t.Errorf("%s: previews %v, %v", by, previews, err)
			}
		}
		if !step.Last() {
			continue
		}
		result, err := step.Result(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		preview, err := step.Preview(t.Context(), TAESD)
		if err != nil || difference(preview[0], result.Pictures[0].Image) > 1 {
			t.Errorf("the picture is not that of TAESD, %v", err)
		}
		if again, _, err := FromInfotext(infotext.Parse(result.Pictures[0].Infotext)); err != nil || again.Decoder != TAESD {
			t.Errorf("the decoder is read back as %q, %v", again.Decoder, err)
		}
	}
	copyFile(t, filepath.Join(dir, "taesd_encoder.pth"), filepath.Join(golden.Root(t), "vae", "testdata", "taesd_encoder.pth"))
	var begin bytes.Buffer
	if err := (Picture{Image: gradient()}).Encode(&begin); err != nil {
		t.Fatal(err)
	}
	both := small(func(r *Request) { r.Encoder, r.Decoder, r.Image, r.Strength = TAESD, TAESD, begin.Bytes(), new(0.5) })
	if _, err := p.Memory(both); err != nil {
		t.Error(err)
	}
	text := infotext.Parse(generate(t, p, both).Pictures[0].Infotext)
	if again, _, err := FromInfotext(text); err != nil || again.Encoder != TAESD || again.Decoder != TAESD {
		t.Errorf("encoder and decoder are read back as %q and %q, %v", again.Encoder, again.Decoder, err)
	}
	without := openTiny(t, openCPU(t))
	_, err := without.Generate(t.Context(), r)
	if fields := invalid.Fields(err); len(fields) != 1 || fields[0].Field != "Options.VAEDirs" || !strings.Contains(err.Error(), "taesd_decoder") {
		t.Errorf("without a file: %v", err)
	}
	_, err = p.Generate(t.Context(), small(func(r *Request) { r.Decoder = ApproxCheap }))
	if fields := invalid.Fields(err); len(fields) != 1 || fields[0].Field != "Request.Decoder" {
		t.Errorf("pictures without a network: %v", err)
	}
}

// half stands for a device that computes in less than float32, where the pictures of decoders are no numbers.
type half struct {
	compute.Device
	exact int // devices lent
}

func (*half) Precision() compute.Precision { return compute.PrecisionBF16 }

func (h *half) Exact() (compute.Device, error) {
	h.exact++
	return ref.New(), nil
}

func (h *half) Compile(p *compute.Program, params compute.Params) (compute.Executable, error) {
	e, err := h.Device.Compile(p, params)
	if v := p.Values[p.Outputs[0].Index()]; err == nil && v.Name == "image" {
		return overflowing{e}, nil
	}
	return e, err
}

// overflowing is a program whose first output is no number.
type overflowing struct{ compute.Executable }

func (o overflowing) Run(ctx context.Context, out, in []compute.Tensor) error {
	if err := o.Executable.Run(ctx, out, in); err != nil {
		return err
	}
	values := make([]float32, out[0].Shape().Elements())
	values[3] = float32(math.NaN())
	return out[0].Upload(compute.Floats(values))
}

// TestDecodedExactly decodes again in float32 what was no number in less, and says so.
func TestDecodedExactly(t *testing.T) {
	var log bytes.Buffer
	dev := &half{Device: ref.New()}
	p := openTinyWith(t, dev, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	got := generate(t, p, small(nil)).Pictures[0].Image
	want := generate(t, openTiny(t, openCPU(t)), small(nil)).Pictures[0].Image
	if d := difference(got, want); d > 0 || dev.exact != 1 || !strings.Contains(log.String(), "decoded again in float32") {
		t.Errorf("differs by %d/255, %d devices lent, log %q", d, dev.exact, log.String())
	}
}
