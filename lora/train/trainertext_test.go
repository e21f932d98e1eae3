package train

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/ref"
	"github.com/atelier-go/atelier/weights"
)

func TestCaptionIDs(t *testing.T) {
	const bos, eos = 49406, 49407
	tokenizer := clip.Default()
	padded := func(ids ...int32) []int32 {
		return append(slices.Concat([]int32{bos}, ids), slices.Repeat([]int32{eos}, 76-len(ids))...)
	}
	cats := slices.Repeat([]int32{2368}, 100) // of "cat cat cat …"
	for _, c := range []struct {
		name, caption string
		length        int
		want          []int32
	}{
		{"one chunk", "a photo of a cat", 75, padded(320, 1125, 539, 320, 2368)},
		{"no length", "a photo of a cat", 0, padded(320, 1125, 539, 320, 2368)},
		{"three chunks", "a cat", 225, slices.Concat(padded(320, 2368), padded(), padded())},
		{"cut off", strings.Repeat("cat ", 100), 75, padded(cats[:75]...)},
		{"two chunks", strings.Repeat("cat ", 100), 150, slices.Concat(padded(cats[:75]...), padded(cats[75:]...))},
		{"nothing", "", 150, slices.Concat(padded(), padded())},
	} {
		got, err := CaptionIDs(tokenizer, c.caption, c.length)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: ids are %v, error %v; want %v", c.name, got, err, c.want)
		}
	}
	for _, length := range []int{-75, 1, 77, 300} {
		if _, err := CaptionIDs(tokenizer, "a", length); err == nil || !strings.Contains(err.Error(), "want 75, 150 or 225") {
			t.Errorf("a length of %d gives the error %v", length, err)
		}
	}
}

// TestJoin encodes captions of three chunks: the rows of the sequence of 227 must be those that the chunks have alone.
func TestJoin(t *testing.T) {
	ckpt, err := weights.Open(filepath.Join("..", "..", "testdata", "tiny-random", "model"), weights.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ckpt.Close()
	component, err := ckpt.TextEncoder()
	if err != nil {
		t.Fatal(err)
	}
	config, err := clip.ParseConfig(component.Config())
	if err != nil {
		t.Fatal(err)
	}
	model, err := clip.New(config, component)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(rows, chunks int, ids []int32) (shape compute.Shape, hidden []float64) {
		var b compute.Builder
		y := join(&b, model.Forward(&b, b.Input("input_ids", compute.I32, rows, 77), 0), chunks)
		b.Output(y)
		p, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		out, err := ref.Evaluate(p, component, ids)
		if err != nil {
			t.Fatal(err)
		}
		return p.Shape(y), out[0].([]float64)
	}
	const samples, chunks = 2, 3
	ids := make([]int32, samples*chunks*77)
	for i := range ids {
		ids[i] = int32(i*i%97) + 1
	}
	shape, joined := encode(samples*chunks, chunks, ids)
	width := config.HiddenSize
	if want := (compute.Shape{samples, 227, width}); !shape.Equal(want) {
		t.Fatalf("the captions become %v, want %v", shape, want)
	}
	alone := make([][]float64, samples*chunks)
	for i := range alone {
		_, alone[i] = encode(1, 1, ids[i*77:][:77])
	}
	for sample := range samples {
		for row := range 227 {
			// Row 0 is the first of the first chunk, row 226 the last of the last, row 1+75k+i row 1+i of chunk k.
			chunk, from := (row-1)/75, 1+(row-1)%75
			switch row {
			case 0:
				chunk, from = 0, 0
			case 226:
				chunk, from = 2, 76
			}
			for c := range width {
				got, want := joined[(sample*227+row)*width+c], alone[sample*chunks+chunk][from*width+c]
				if math.Abs(got-want) > 1e-12 {
					t.Fatalf("sample %d, row %d is %g at channel %d, want %g, row %d of chunk %d alone", sample, row, got, c, want, from, chunk)
				}
			}
		}
	}
}
