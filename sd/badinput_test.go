package sd

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/internal/picture"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/weights"
	"github.com/atelier-go/atelier/weights/pickle"
)

// TestBadInput has a request for each way to ask for what there is not: the error is of a field, of a type that a program can look for where there
// is something to look into, and says the value and what to do.
func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, shape []int, keys ...string) string {
		t.Helper()
		var all []weights.Tensor
		for i, key := range keys {
			shape := shape[2*i:][:2]
			all = append(all, weights.Tensor{Name: key, DType: weights.F32, Shape: shape, Data: make([]byte, 4*shape[0]*shape[1])})
		}
		path := filepath.Join(dir, name)
		if err := weights.Write(path, all, nil); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const deep = "lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_q"
	const key = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
	write("for-sdxl.safetensors", []int{2, 640, 640, 2}, deep+".lora_down.weight", deep+".lora_up.weight")
	write("for-sd2.safetensors", []int{2, 1024, 320, 2}, key+".lora_down.weight", key+".lora_up.weight")
	bomb := filepath.Join(dir, "bomb.pt")
	if err := os.WriteFile(bomb, slices.Concat([]byte{0x80, 2}, bytes.Repeat([]byte("("), 8<<20), []byte(".")), 0o666); err != nil {
		t.Fatal(err)
	}
	p := openTinyWith(t, openCPU(t), Options{LoRADirs: []string{dir}, CheckpointDirs: []string{dir}})
	with := func(change func(r *Request)) Request { return small(change) }
	masked := func(change func(r *Request)) Request { return inpaint(t, image.Rect(0, 0, 16, 24), change) }
	for name, c := range map[string]struct {
		r     Request
		field string
		says  []string
		is    func(error) bool
	}{
		"unknown sampler":                        {with(func(r *Request) { r.Sampler = "Leapfrog" }), "Request.Sampler", []string{"Leapfrog", "DPM++ 2M", "UniPC"}, nil},
		"unknown schedule":                       {with(func(r *Request) { r.Spacing = "Cubic" }), "Request.Spacing", []string{"Cubic", "Karras"}, nil},
		"unknown upscaler":                       {with(func(r *Request) { r.Hires = &Hires{Upscaler: "4x-Nobody"} }), "Request.Hires.Upscaler", []string{"4x-Nobody", "Latent", "put a model"}, is[*NoUpscalerError]},
		"unknown LoRA":                           {with(func(r *Request) { r.Prompt = "<lora:nobody:1>" }), "Options.LoRADirs", []string{"nobody", "put nobody.safetensors there"}, is[*lora.NotFoundError]},
		"unknown VAE":                            {with(func(r *Request) { r.VAE = "nobody" }), "Request.VAE", []string{"nobody"}, is[*weights.NoVAEError]},
		"LoRA for SDXL":                          {with(func(r *Request) { r.Prompt = "<lora:for-sdxl:1>" }), "Request.Prompt", []string{"for-sdxl", "SDXL", "give a LoRA made for"}, is[*lora.FamilyError]},
		"LoRA for SD 2":                          {with(func(r *Request) { r.Adapters = []Adapter{{Path: filepath.Join(dir, "for-sd2.safetensors")}} }), "Request.Adapters[0].Path", []string{"for-sd2", "SD 2"}, is[*lora.FamilyError]},
		"pickle bomb":                            {with(func(r *Request) { r.Adapters = []Adapter{{Path: bomb}} }), "Request.Adapters[0].Path", []string{"bomb.pt", "sound PyTorch"}, is[*pickle.FormatError]},
		"denoising under 0":                      {masked(func(r *Request) { r.Strength = new(-0.01) }), "Request.Strength", []string{"-0.01", "0 to 1"}, nil},
		"denoising over 1":                       {masked(func(r *Request) { r.Strength = new(1.01) }), "Request.Strength", []string{"1.01", "0 to 1"}, nil},
		"denoising NaN":                          {masked(func(r *Request) { r.Strength = new(math.NaN()) }), "Request.Strength", []string{"NaN", "0 to 1"}, nil},
		"denoising 0, which leaves DDIM no step": {masked(func(r *Request) { r.Strength, r.Sampler = new(0.0), sampler.DDIM }), "Request.Strength", []string{"more", "no step"}, nil},
		"negative width":                         {with(func(r *Request) { r.Width = -64 }), "Request.Width", []string{"-64", "multiple of 8"}, nil},
		"negative height":                        {with(func(r *Request) { r.Height = -64 }), "Request.Height", []string{"-64", "multiple of 8"}, nil},
		"20,000 pixels":                          {with(func(r *Request) { r.Width = 20000 }), "Request.Width", []string{"20000", "4096"}, nil},
		"a picture of 20,000 pixels":             {with(func(r *Request) { r.Image = hugePNG(20000) }), "Request.Image", []string{"20000x20000", "scale it down"}, is[*picture.TooLargeError]},
		"a mask of 20,000 pixels":                {masked(func(r *Request) { r.Inpaint.Mask = hugePNG(20000) }), "Request.Inpaint.Mask", []string{"20000x20000", "scale it down"}, is[*picture.TooLargeError]},
		"a mask of another size": {masked(func(r *Request) {
			r.Inpaint.Only, r.Inpaint.Mask = true, pngOf(t, maskOf(20, 12, image.Rect(0, 0, 4, 12)))
		}), "Request.Inpaint.Mask", []string{"(20,12)", "(40,24)"}, nil},
		"a mask with hires fix": {masked(func(r *Request) { r.Hires = &Hires{} }), "Request.Inpaint.Mask", []string{"none with Request.Hires", "enlarge the picture afterwards"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := p.Generate(t.Context(), c.r)
			if fields := invalid.Fields(err); len(fields) != 1 || fields[0].Field != c.field || c.is != nil && !c.is(err) {
				t.Fatalf("%v, want one error of %s", err, c.field)
			}
			for _, say := range c.says {
				if !strings.Contains(err.Error(), say) {
					t.Errorf("%v, want %q in it", err, say)
				}
			}
			if len(err.Error()) > 3000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
	for _, strength := range []float64{0, 1} {
		if _, err := p.Generate(t.Context(), masked(func(r *Request) { r.Strength = &strength })); err != nil {
			t.Errorf("denoising %v, which the web UI has: %v", strength, err)
		}
	}
}

// TestBadEmbedding skips an embedding of another width and says so.
func TestBadEmbedding(t *testing.T) {
	dir := t.TempDir()
	embeddingFile(t, filepath.Join(dir, "wide.safetensors"), "emb_params", []int{1, 1024}, make([]float32, 1024))
	p := openTinyWith(t, openCPU(t), Options{EmbeddingDirs: []string{dir}})
	_, skipped, err := p.Embeddings()
	if err != nil || len(skipped) != 1 {
		t.Fatal(skipped, err)
	}
	e, ok := errors.AsType[*invalid.FieldError](skipped[0].Err)
	if !ok || e.Field != "Embedding.Vectors" || !strings.Contains(e.Error(), fmt.Sprintf("[1 1024], want [vectors,%d]", p.networks.Text.Config().HiddenSize)) || !strings.Contains(e.Error(), "use one for") {
		t.Errorf("%v", skipped[0].Err)
	}
}

// hugePNG is the beginning of a picture of so many pixels a side, all that it takes to refuse it.
func hugePNG(side uint32) []byte {
	chunk := func(kind string, data []byte) []byte {
		body := append([]byte(kind), data...)
		out := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
		return binary.BigEndian.AppendUint32(append(out, body...), crc32.ChecksumIEEE(body))
	}
	var zeros bytes.Buffer
	z := zlib.NewWriter(&zeros)
	z.Write(make([]byte, 1000))
	z.Close()
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, side), side)
	return slices.Concat([]byte("\x89PNG\r\n\x1a\n"), chunk("IHDR", append(head, 8, 6, 0, 0, 0)), chunk("IDAT", zeros.Bytes()), chunk("IEND", nil))
}
