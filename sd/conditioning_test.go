package sd

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/internal/webui"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd/infotext"
	"github.com/atelier-go/atelier/sd/prompt"
)

type encodeRecord struct {
	ID       string
	Texts    []string
	Emphasis prompt.Emphasis
	Shape    [3]int
	Sum      float64
	Rows     map[string][][]float64
	Infotext map[string]string
}

// TestWebUIEncode compares contexts with the web UI's; testdata/webui says how they were made.
func TestWebUIEncode(t *testing.T) {
	var known prompt.Embeddings
	for _, r := range webui.Records[struct {
		Embeddings []struct {
			Name    string
			Vectors int
		}
	}](t, "embeddings") {
		for _, e := range r.Embeddings {
			known.Add(clip.Default(), e.Name, e.Vectors)
		}
	}
	webui.Test(t, "encode", func(t *testing.T, r encodeRecord) {
		tokens, width := clip.Default(), r.Shape[2]
		part := &textPart{}
		reader := prompt.Reader{Tokenizer: tokens, Options: prompt.Options{Emphasis: r.Emphasis}, Embeddings: &known}
		for i, words := range r.Texts {
			if at := slices.Index(r.Texts, words); at < i {
				part.at[at].times++
				part.at = append(part.at, part.at[at])
				continue
			}
			one := &text{times: 1}
			one.chunks, _ = reader.Chunks(words)
			part.texts, part.at, part.chunks = append(part.texts, one), append(part.at, one), max(part.chunks, len(one.chunks))
		}
		var hidden []float32
		for _, sequence := range sequences(tokens, part.toEncode()) {
			for p, id := range sequence {
				for c := range width {
					hidden = append(hidden, float32(math.Sin(0.001*float64(id)*float64(c+1)+0.1*float64(p))+0.2))
				}
			}
		}
		part.weigh(hidden, tokens.MaxLength(), tokens.MaxLength()*width, r.Emphasis)
		r.compare(t, part.at, width)
		request := Request{Prompt: strings.Join(r.Texts, ""), PromptOptions: reader.Options}
		if got, _ := describeDefaults(t, request).Get("Emphasis"); got != r.Infotext["Emphasis"] {
			t.Errorf("%s: the infotext says Emphasis %q, want %q", r.ID, got, r.Infotext["Emphasis"])
		}
	})
	webui.Test(t, "stack_conds", func(t *testing.T, r struct {
		ID      string
		Lengths [2]int
		Shape   [3]int       `json:"out_shape"`
		First   [][2]float32 `json:"first_tail"`
		Second  [][2]float32 `json:"second_tail"`
	}) {
		for i, want := range [][][2]float32{r.First, r.Second} {
			var in []float32
			for j := range 2 * r.Lengths[i] {
				in = append(in, float32(100*i+j))
			}
			got := stretch(in, 2, r.Shape[1])
			got = got[len(got)-2*len(want):]
			for j, row := range want {
				if !slices.Equal(got[2*j:][:2], row[:]) {
					t.Errorf("%s: the last rows are %v, want %v", r.ID, got, want)
				}
			}
		}
	})
}

// compare compares contexts with a record.
func (r encodeRecord) compare(t *testing.T, texts []*text, width int) {
	t.Helper()
	sum := 0.0
	for i, one := range texts {
		if len(one.context) != r.Shape[1]*width {
			t.Fatalf("%s: text %d has %d numbers, want %v", r.ID, i, len(one.context), r.Shape)
		}
		for _, v := range one.context {
			sum += float64(v)
		}
		for position, rows := range r.Rows {
			p, err := strconv.Atoi(position)
			if err != nil {
				t.Fatal(err)
			}
			for c, want := range rows[i] {
				if got := float64(one.context[p*width+c]); math.Abs(got-want) > 2e-6 {
					t.Errorf("%s: text %d, token %d, channel %d is %v, want %v", r.ID, i, p, c, got, want)
				}
			}
		}
	}
	if math.Abs(sum-r.Sum) > 1e-3 {
		t.Errorf("%s: the sum is %v, want %v", r.ID, sum, r.Sum)
	}
}

func describeDefaults(t *testing.T, r Request) infotext.Text {
	t.Helper()
	r, err := r.resolve(64)
	if err != nil {
		t.Fatal(err)
	}
	return describe(r, nil, model{}, 0)
}

// TestPromptLanguage makes latents in pairs that have to be equal, or have to differ.
func TestPromptLanguage(t *testing.T) {
	p := openTiny(t, openCPU(t))
	draw := func(words string) (latents []float32) {
		for step, err := range p.Steps(t.Context(), small(func(r *Request) { r.Prompt, r.Steps = words, 4 })) {
			if err != nil {
				t.Fatal(err)
			}
			if latents, _, err = step.Latents(); err != nil {
				t.Fatal(err)
			}
		}
		return latents
	}
	for _, c := range []struct {
		name, a, b string
		equal      bool
	}{
		{"weight 1", "a man, (hat:1.0)", "a man, hat", true},
		{"a weight", "a man, (hat:1.6)", "a man, hat", false},
		{"a comment", "a man # with a hat", "a man ", true},
		{"an edit between equals", "a man, [hat:hat:0.5]", "a man, hat", true},
		{"an edit before the start", "a man, [hat:beard:0]", "a man, beard", true},
		{"an edit behind the end", "a man, [hat:beard:4]", "a man, hat", true},
		{"an edit", "a man, [hat:beard:2]", "a man, hat", false},
		{"the other side of an edit", "a man, [hat:beard:2]", "a man, beard", false},
		{"an alternation", "a man, [hat|beard]", "a man, hat", false},
		{"equal parts", "a man :0.25 AND a man :0.75", "a man", true},
		{"parts", "a man AND hat :0.5", "a man", false},
		{"a chunk twice is the chunk", "a man BREAK a man", "a man", true},
		{"a longer part", "a man AND a man BREAK hat :0.5", "a man", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if d := golden.Compare(draw(c.a), draw(c.b)); (d.Relative < 1e-5) != c.equal {
				t.Errorf("the latents differ by %v", d)
			}
		})
	}
}

// TestConditioning looks at how many chunks prompts of different length get.
func TestConditioning(t *testing.T) {
	p := openTiny(t, openCPU(t))
	for _, c := range []struct {
		positive, negative string
		pad                bool
		chunks             int
		padded             bool
	}{
		{"a", "b", false, 1, false},
		{"a BREAK b", "c", false, 2, false},
		{"a BREAK b", "c BREAK d BREAK e", false, 6, false},
		{"a BREAK b", "c BREAK d BREAK e", true, 3, true},
		{"a BREAK b", "c BREAK d", true, 2, false},
		{"a BREAK b AND c", "d", false, 2, false},
		{strings.Repeat("a BREAK ", 6) + "a", strings.Repeat("b BREAK ", 4) + "b", false, 7, true},
	} {
		r := small(func(r *Request) { r.Prompt, r.NegativePrompt, r.PadConds, r.Steps = c.positive, c.negative, c.pad, 1 })
		r, plan, err := p.plan(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.encode(t.Context(), &pass{request: r, plan: plan})
		if err != nil {
			t.Fatal(err)
		}
		if got.tokens != c.chunks*77 || got.padded != c.padded {
			t.Errorf("%q and %q have %d tokens, filled up: %t; want %d chunks, %t", c.positive, c.negative, got.tokens, got.padded, c.chunks, c.padded)
		}
		for i, part := range got.parts {
			for _, one := range part.texts {
				if len(one.context) != got.tokens*p.networks.Text.Config().HiddenSize {
					t.Errorf("%q and %q: context %d has %d numbers", c.positive, c.negative, i, len(one.context))
				}
			}
		}
	}
}

// TestPadOld gives the negative prompt the prompt's length as DDIM did before release 1.6 of the web UI.
func TestPadOld(t *testing.T) {
	p := openTiny(t, openCPU(t))
	width := p.networks.Text.Config().HiddenSize
	negative := func(positive, negative string, old bool) []float32 {
		r, plan, err := p.plan(small(func(r *Request) { r.Prompt, r.NegativePrompt, r.PadOld, r.Steps = positive, negative, old, 1 }))
		if err != nil {
			t.Fatal(err)
		}
		c, err := p.encode(t.Context(), &pass{request: r, plan: plan})
		if err != nil {
			t.Fatal(err)
		}
		if old && c.tokens != c.positive[0].chunks*77 {
			t.Errorf("%q has %d tokens", positive, c.tokens)
		}
		return c.negative.texts[0].context
	}
	short, long := negative("a", "c", false), negative("a BREAK b", "c BREAK d", false)
	last := short[76*width:]
	for _, c := range []struct {
		positive, negative string
		want               []float32
	}{
		{"a BREAK b", "c", append(slices.Clone(short), slices.Repeat(last, 77)...)},
		{"a", "c BREAK d", long[:77*width]},
		{"a BREAK b", "c BREAK d", long},
	} {
		if got := negative(c.positive, c.negative, true); !slices.Equal(got, c.want) {
			t.Errorf("%q for %q has %d numbers, or others than wanted, of which there are %d", c.negative, c.positive, len(got), len(c.want))
		}
	}
}

// TestEditsCountCalls counts steps of samplers of second order twice, as the web UI does.
func TestEditsCountCalls(t *testing.T) {
	p := openTiny(t, openCPU(t))
	for s, want := range map[sampler.Sampler]int{sampler.Euler: 5, sampler.Heun: 10} {
		r, plan, err := p.plan(small(func(r *Request) { r.Prompt, r.Sampler, r.Steps = "[a:b:0.5]", s, 10 }))
		if err != nil {
			t.Fatal(err)
		}
		c, err := p.read(&pass{request: r, plan: plan})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.positive[0].timeline.Ends[0]; got != want {
			t.Errorf("%s: half of ten steps is call %d, want %d", s, got, want)
		}
	}
}

// TestPromptBounds reads prompts that would never end.
func TestPromptBounds(t *testing.T) {
	var many []string
	for i := range 700 {
		many = append(many, strconv.Itoa(i)+" BREAK b")
	}
	p := openTiny(t, openCPU(t))
	for name, words := range map[string]string{
		"parts": strings.Repeat("a AND ", 20), "breaks": strings.Repeat("a BREAK ", 100),
		"texts": "[" + strings.Join(many, "|") + "]",
	} {
		r := small(func(r *Request) { r.Prompt, r.Steps = words, 999 })
		if _, err := p.Generate(t.Context(), r); err == nil || !strings.Contains(err.Error(), "Request.Prompt") {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}
