package sd

import (
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/internal/webui"
	"github.com/atelier-go/atelier/sd/infotext"
	"github.com/atelier-go/atelier/sd/prompt"
	"github.com/atelier-go/atelier/weights"
)

// TestWebUIEmbeddings compares where vectors stand with the web UI; testdata/webui says how the records were made.
func TestWebUIEmbeddings(t *testing.T) {
	all := &embeddings{}
	for _, r := range webui.Records[struct {
		Embeddings []struct {
			Name    string
			Vectors int
		}
	}](t, "embeddings") {
		for _, e := range r.Embeddings {
			one := Embedding{Name: e.Name, Vectors: e.Vectors}
			for i := range e.Vectors {
				v := float32(1000*e.Vectors + 10*i)
				one.values = append(one.values, v, v+1)
			}
			all.loaded = append(all.loaded, one)
		}
	}
	webui.Test(t, "embedding_fixups", func(t *testing.T, r struct {
		ID    string
		Fixes [][][2]any
		Rows  [][][2]float64
	}) {
		for i, fixes := range r.Fixes {
			var placed []prompt.Placed
			for _, f := range fixes {
				placed = append(placed, prompt.Placed{At: int(f[0].(float64)), Name: f[1].(string)})
			}
			var rows []float32
			for token := range r.Rows[i] {
				rows = append(rows, -float32(token), -float32(token)-0.001)
			}
			for token, vector := range all.vectors(len(r.Rows[i]), placed) {
				copy(rows[2*token:], vector)
			}
			for token, want := range r.Rows[i] {
				if got := rows[2*token:][:2]; math.Abs(float64(got[0])-want[0]) > 1e-5 || math.Abs(float64(got[1])-want[1]) > 1e-5 {
					t.Errorf("%s: text %d, token %d is %v, want %v", r.ID, i, token, got, want)
				}
			}
		}
	})
}

// embeddingFile writes a file with one tensor.
func embeddingFile(t *testing.T, path, key string, shape []int, values []float32) {
	t.Helper()
	data := make([]byte, 4*len(values))
	weights.Narrow(data, values, compute.F32)
	if err := weights.Write(path, []weights.Tensor{{Name: key, DType: "F32", Shape: shape, Data: data}}, nil); err != nil {
		t.Fatal(err)
	}
}

// TestEmbeddings names embeddings in prompts: one that is the vector of a token makes the same picture as the token.
func TestEmbeddings(t *testing.T) {
	plain := openTiny(t, openCPU(t))
	width := plain.networks.Text.Config().HiddenSize
	id := plain.networks.Tokenizer.Encode("hat")
	if len(id) != 1 {
		t.Fatalf("hat has the tokens %v", id)
	}
	hat, err := plain.tokenVector(id[0], width)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	embeddingFile(t, filepath.Join(dir, "zxhat.safetensors"), "emb_params", []int{1, width}, hat)
	embeddingFile(t, filepath.Join(dir, "zxone.safetensors"), "any", []int{width}, hat)
	embeddingFile(t, filepath.Join(dir, "wide.safetensors"), "emb_params", []int{1, width + 1}, append([]float32{0}, hat...))
	embeddingFile(t, filepath.Join(dir, "long.safetensors"), "emb_params", []int{76, width}, slices.Repeat(hat, 76))
	embeddingFile(t, filepath.Join(dir, "nan.safetensors"), "emb_params", []int{1, width}, slices.Repeat([]float32{float32(math.NaN())}, width))
	for name, content := range map[string]string{"picture.png": "", "zxhat.preview.png": "", "damaged.pt": "x", "notes.txt": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	p := openTinyWith(t, openCPU(t), Options{EmbeddingDirs: []string{dir}})
	loaded, skipped, err := p.Embeddings()
	var names, reasons []string
	for _, e := range loaded {
		names = append(names, e.Name)
	}
	for _, s := range skipped {
		reasons = append(reasons, filepath.Base(s.Path)+": "+s.Err.Error())
	}
	if want := []string{"zxhat", "zxone"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("embeddings %q, want %q, %v", names, want, err)
	}
	for _, want := range []string{"damaged.pt", "long.safetensors: Embedding.Vectors is 76", "nan.safetensors: its vectors are no finite", "picture.png: embeddings in pictures", "wide.safetensors: Embedding.Vectors is [1 "} {
		if !slices.ContainsFunc(reasons, func(reason string) bool { return strings.HasPrefix(reason, want) }) {
			t.Errorf("no %q among the skipped: %q", want, reasons)
		}
	}
	if len(reasons) != 5 {
		t.Errorf("skipped %q, want five", reasons)
	}
	latents := func(p *Pipeline, words, negative string) (data []float32, text infotext.Text) {
		for step, err := range p.Steps(t.Context(), small(func(r *Request) { r.Prompt, r.NegativePrompt = words, negative })) {
			if err != nil {
				t.Fatal(err)
			}
			if data, _, err = step.Latents(); err != nil {
				t.Fatal(err)
			}
			if step.Last() {
				result, err := step.Result(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				text = infotext.Parse(result.Pictures[0].Infotext)
			}
		}
		return data, text
	}
	want, _ := latents(plain, "a man, hat", "hat")
	got, text := latents(p, "a man, ZXhat", "zxone")
	if d := golden.Compare(got, want); d.Relative > 1e-4 {
		t.Errorf("the embedding of a token is not the token: %v", d)
	}
	if hashes, _ := text.Get("TI hashes"); !strings.HasPrefix(hashes, "zxone: "+loaded[1].Hash[:12]) || !strings.Contains(hashes, "zxhat: "+loaded[0].Hash[:12]) {
		t.Errorf("TI hashes are %q", hashes)
	}
	unknown, _ := latents(plain, "a man, zxhat", "hat")
	if d := golden.Compare(unknown, want); d.Relative < 1e-4 {
		t.Errorf("an unknown embedding is no text: %v", d)
	}
}

// TestBundledEmbeddings names an embedding that comes in a LoRA's file, which is known as long as the LoRA is applied.
func TestBundledEmbeddings(t *testing.T) {
	plain := openTiny(t, openCPU(t))
	width := plain.networks.Text.Config().HiddenSize
	hat, err := plain.tokenVector(plain.networks.Tokenizer.Encode("hat")[0], width)
	if err != nil {
		t.Fatal(err)
	}
	f, err := weights.OpenFile(loraFile(t, "tiny-random", "kohya"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var tensors []weights.Tensor
	for _, name := range f.Names() {
		x, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, x)
	}
	for name, values := range map[string][]float32{"zxhat": hat, "zxwide": append([]float32{0}, hat...)} {
		data := make([]byte, 4*len(values))
		weights.Narrow(data, values, compute.F32)
		tensors = append(tensors, weights.Tensor{Name: "bundle_emb." + name + ".string_to_param.*", DType: "F32", Shape: []int{1, len(values)}, Data: data})
	}
	dir := t.TempDir()
	if err := weights.Write(filepath.Join(dir, "both.safetensors"), tensors, nil); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	p := openTinyWith(t, openCPU(t), Options{LoRADirs: []string{dir}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	run := func(p *Pipeline, words string) Picture {
		return generate(t, p, small(func(r *Request) { r.Prompt, r.Steps = words, 1 })).Pictures[0]
	}
	want, got := run(plain, "a man, hat"), run(p, "a man, zxhat <lora:both:0>")
	if d := difference(got.Image, want.Image); d > 1 {
		t.Errorf("the embedding of a token is not the token: %d/255", d)
	}
	if hashes, _ := infotext.Parse(got.Infotext).Get("TI hashes"); hashes != "zxhat: both" {
		t.Errorf("TI hashes are %q", hashes)
	}
	if !strings.Contains(log.String(), "zxwide") {
		t.Errorf("nothing is said of vectors of another width: %s", log.String())
	}
	if _, err := p.Memory(small(func(r *Request) { r.Prompt = "zxhat <lora:both:0>" })); err != nil {
		t.Error(err)
	}
	text := run(p, "a man, zxhat").Infotext
	if hashes, ok := infotext.Parse(text).Get("TI hashes"); ok {
		t.Errorf("without the LoRA the prompt names %q", hashes)
	}
	embeddingFile(t, filepath.Join(dir, "zxhat.safetensors"), "emb_params", []int{1, width}, hat)
	files := openTinyWith(t, openCPU(t), Options{LoRADirs: []string{dir}, EmbeddingDirs: []string{dir}})
	if hashes, _ := infotext.Parse(run(files, "zxhat <lora:both:0>").Infotext).Get("TI hashes"); strings.HasPrefix(hashes, "zxhat: both") || hashes == "" {
		t.Errorf("a file is not before what a LoRA brings: %q", hashes)
	}
}

// FuzzEmbedding reads files of any bytes: what is taken for an embedding has its vectors.
func FuzzEmbedding(f *testing.F) {
	pickled, err := os.ReadFile(filepath.Join("..", "weights", "pickle", "testdata", "torch2.15-embedding.pt"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pickled, true)
	f.Add([]byte("<\x00\x00\x00\x00\x00\x00\x00{\"emb_params\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[0,4]}}\x00\x00\x80\x3f"), false)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte, pickle bool) {
		path := filepath.Join(dir, "x.safetensors")
		if pickle {
			path = filepath.Join(dir, "x.pt")
		}
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		for _, width := range []int{1, 4} {
			if e, err := readEmbedding(path, width, 75); err == nil && (e.Vectors < 1 || e.Vectors > 75 || len(e.values) != e.Vectors*width) {
				t.Errorf("%d vectors of %d: %d numbers", e.Vectors, width, len(e.values))
			}
		}
	})
}

// TestPickledEmbeddings reads what the web UI's training writes with torch.save.
func TestPickledEmbeddings(t *testing.T) {
	for _, name := range []string{"torch2.0-embedding.pt", "torch2.15-embedding.pt"} {
		path := filepath.Join(golden.Root(t), "weights", "pickle", "testdata", name)
		_, err := readEmbedding(path, 1, 75)
		if err == nil || !strings.Contains(err.Error(), "want [vectors,1]") {
			t.Errorf("%s of another width: %v", name, err)
		}
		f, err := weights.OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, _ := f.Info("string_to_param.*")
		if e, err := readEmbedding(path, info.Shape[1], 75); err != nil || e.Vectors != info.Shape[0] {
			t.Errorf("%s: %d vectors, %v, want %d", name, e.Vectors, err, info.Shape[0])
		}
	}
}
