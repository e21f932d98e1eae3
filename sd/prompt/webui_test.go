package prompt

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/internal/webui"
)

// TestWebUIText compares what happens to text with what the web UI does; testdata/webui says how the records were made.
func TestWebUIText(t *testing.T) {
	webui.Test(t, "comments", func(t *testing.T, r struct{ ID, Text, Stripped string }) {
		if got := StripComments(r.Text); got != r.Stripped {
			t.Errorf("%s: %q becomes %q, want %q", r.ID, r.Text, got, r.Stripped)
		}
	})
	webui.Test(t, "extra_networks", testExtraNetworks)
	webui.Test(t, "prompt_and", testAnd)
	webui.Test(t, "prompt_attention", testAttention)
}

type extraNetworksRecord struct {
	ID             string
	Prompts, Texts []string
	Tags           map[string][]struct {
		Items, Positional []string
		Named             map[string]string
	}
}

func testExtraNetworks(t *testing.T, r extraNetworksRecord) {
	for i, p := range r.Prompts {
		rest, tags := Cut(p)
		if rest != r.Texts[i] {
			t.Errorf("%s: %q becomes %q, want %q", r.ID, p, rest, r.Texts[i])
		}
		if i > 0 {
			continue
		}
		found := 0
		for kind, wanted := range r.Tags {
			of := slices.DeleteFunc(slices.Clone(tags), func(tag Tag) bool { return tag.Kind != kind })
			found += len(of)
			if len(of) != len(wanted) {
				t.Errorf("%s: %q has %d tags of %s, want %d", r.ID, p, len(of), kind, len(wanted))
				continue
			}
			for j, w := range wanted {
				if tag := of[j]; !slices.Equal(tag.Items, w.Items) || !slices.Equal(tag.Positional(), w.Positional) || !reflect.DeepEqual(tag.Named(), w.Named) {
					t.Errorf("%s: tag %v %v %v, want %v", r.ID, tag.Items, tag.Positional(), tag.Named(), w)
				}
			}
		}
		if found != len(tags) {
			t.Errorf("%s: tags %v, want %v", r.ID, tags, r.Tags)
		}
	}
}

type andRecord struct {
	ID      string
	Prompts []string
	Parts   [][][2]webui.Number
	Texts   []string
}

func testAnd(t *testing.T, r andRecord) {
	var texts []string
	for i, p := range r.Prompts {
		parts := Split(p)
		if len(parts) != len(r.Parts[i]) {
			t.Errorf("%s: %q has the parts %v, want %v", r.ID, p, parts, r.Parts[i])
			continue
		}
		for j, part := range parts {
			if !slices.Contains(texts, part.Text) {
				texts = append(texts, part.Text)
			}
			want := r.Parts[i][j]
			if part.Text != r.Texts[int(want[0])] || !want[1].Equal(part.Weight) {
				t.Errorf("%s: part %d of %q is %v, want %q with %v", r.ID, j, p, part, r.Texts[int(want[0])], want[1])
			}
		}
	}
	if len(texts) != len(r.Texts) {
		t.Errorf("%s: texts %q, want %q", r.ID, texts, r.Texts)
	}
}

type attentionRecord struct {
	ID, Text string
	Parsed   [][2]json.RawMessage
	Error    string
}

func testAttention(t *testing.T, r attentionRecord) {
	got := Attention(r.Text)
	if r.Error != "" {
		return // the web UI fails at numbers such as 1.2.3; ours are in TestAttention
	}
	if len(got) != len(r.Parsed) {
		t.Errorf("%s: %q has the pieces %v, want %s", r.ID, r.Text, got, r.Parsed)
		return
	}
	for i, p := range r.Parsed {
		var text string
		var weight webui.Number
		if json.Unmarshal(p[0], &text) != nil || json.Unmarshal(p[1], &weight) != nil {
			t.Fatalf("%s: %s", r.ID, p)
		}
		if got[i].Text != text || !weight.Equal(got[i].Weight) {
			t.Errorf("%s: piece %d of %q is %q with %v, want %q with %v", r.ID, i, r.Text, got[i].Text, got[i].Weight, text, weight)
		}
	}
}

// schedule is a list of texts with the steps at which they end.
type schedule [][2]any

func (l *Timeline) schedule() (s schedule) {
	for _, end := range l.Ends {
		s = append(s, [2]any{float64(end), l.Text(end)})
	}
	return s
}

type schedulesRecord struct {
	ID, Prompt, Error string
	Steps             int
	Hires             int  `json:"hires_steps"`
	Old               bool `json:"use_old"`
	Schedules         schedule
	Calls             []string
	Unstable          []struct{ Schedules schedule }
}

func TestWebUITimeline(t *testing.T) {
	webui.Test(t, "prompt_schedules", func(t *testing.T, r schedulesRecord) {
		got := NewTimeline(r.Prompt, Timing{Steps: r.Steps, Hires: r.Hires, Old: r.Old}).schedule()
		answers := []schedule{r.Schedules}
		for _, u := range r.Unstable {
			answers = append(answers, u.Schedules)
		}
		if r.Error == "" && !slices.ContainsFunc(answers, func(s schedule) bool { return reflect.DeepEqual(got, s) }) {
			t.Errorf("%s: %q in %d steps, hires %d, old %t:\n%q, want\n%q", r.ID, r.Prompt, r.Steps, r.Hires, r.Old, got, answers)
		}
	})
	webui.Test(t, "schedule_active", func(t *testing.T, r schedulesRecord) {
		l := NewTimeline(r.Prompt, Timing{Steps: r.Steps})
		if got := l.schedule(); !reflect.DeepEqual(got, r.Schedules) {
			t.Errorf("%s: %q, want %q", r.ID, got, r.Schedules)
		}
		for call, want := range r.Calls {
			if got := l.Text(l.Ends[l.Active(call)]); got != want {
				t.Errorf("%s: call %d has %q, want %q", r.ID, call, got, want)
			}
		}
	})
}

type chunksRecord struct {
	ID, Prompt, Error string
	Emphasis          Emphasis
	Backtrack         *int `json:"comma_padding_backtrack"`
	Count             int
	Chunks            []struct {
		Tokens      []int32
		Multipliers [][2]webui.Number
		Fixes       [][2]any
	}
	Embeddings []struct {
		Name    string
		Vectors int
		Tokens  []int32
	}
}

func (r chunksRecord) check(t *testing.T, embeddings *Embeddings) {
	reader := Reader{Tokenizer: clip.Default(), Options: Options{Emphasis: r.Emphasis, Backtrack: r.Backtrack}, Embeddings: embeddings}
	chunks, count := reader.Chunks(r.Prompt)
	if r.Error != "" {
		return
	}
	if len(chunks) != len(r.Chunks) || count != r.Count {
		t.Errorf("%s: %q has %d chunks and %d tokens, want %d and %d", r.ID, r.Prompt, len(chunks), count, len(r.Chunks), r.Count)
		return
	}
	for i, want := range r.Chunks {
		var weights []float64
		for _, run := range want.Multipliers {
			weights = append(weights, slices.Repeat([]float64{float64(run[1])}, int(run[0]))...)
		}
		// The records leave out padding, and so end tokens of weight 1 at the end of a chunk.
		tokens, got := chunks[i].Tokens, chunks[i].Weights
		for n := len(tokens); n > 0 && tokens[n-1] == clip.Default().EOS() && got[n-1] == 1; n-- {
			tokens, got = tokens[:n-1], got[:n-1]
		}
		if !slices.Equal(tokens, want.Tokens) || !slices.EqualFunc(got, weights, func(a, b float64) bool { return webui.Number(a).Equal(b) }) {
			t.Errorf("%s: chunk %d of %q is\n%v %v, want\n%v %v", r.ID, i, r.Prompt, tokens, got, want.Tokens, weights)
		}
		var fixes [][2]any
		for _, e := range chunks[i].Embeddings {
			fixes = append(fixes, [2]any{float64(e.At), e.Name})
		}
		if len(fixes)+len(want.Fixes) > 0 && !reflect.DeepEqual(fixes, want.Fixes) {
			t.Errorf("%s: chunk %d of %q has the embeddings %v, want %v", r.ID, i, r.Prompt, fixes, want.Fixes)
		}
	}
}

func TestWebUIChunks(t *testing.T) {
	webui.Test(t, "chunks", func(t *testing.T, r chunksRecord) { r.check(t, nil) })
	var embeddings Embeddings
	webui.Test(t, "chunks_embeddings", func(t *testing.T, r chunksRecord) {
		for _, e := range r.Embeddings {
			embeddings.Add(clip.Default(), e.Name, e.Vectors)
		}
		if r.Embeddings == nil {
			r.check(t, &embeddings)
		}
	})
}

type emphasisRecord struct {
	ID          string
	Shape       [3]int
	Multipliers [][][2]float64
	Out         map[Emphasis][]float64
}

func TestWebUIEmphasis(t *testing.T) {
	webui.Test(t, "emphasis", func(t *testing.T, r emphasisRecord) {
		for _, e := range Emphases {
			size := r.Shape[1] * r.Shape[2]
			var chunks []Weighted
			var want []float64
			for n, runs := range r.Multipliers {
				c := Weighted{Times: 1}
				for _, run := range runs {
					c.Weights = append(c.Weights, slices.Repeat([]float32{float32(run[1])}, int(run[0]))...)
				}
				for i := n * size; i < (n+1)*size; i++ {
					v := float32(1.5*math.Sin(0.7*float64(i)+0.3) + 0.4 + 0.1*math.Cos(0.013*float64(i)))
					c.Hidden, want = append(c.Hidden, v), append(want, float64(v))
				}
				chunks = append(chunks, c)
			}
			if out, ok := r.Out[e]; ok {
				want = out
			} else if e == Original || e == NoNorm {
				t.Fatalf("%s has no %s", r.ID, e)
			}
			e.Apply(chunks)
			for i, w := range want {
				if got := float64(chunks[i/size].Hidden[i%size]); math.Abs(got-w) > 1e-6*(1+math.Abs(w)) {
					t.Errorf("%s: %s: element %d is %v, want %v", r.ID, e, i, got, w)
					break
				}
			}
		}
	})
}

func TestWebUIStyles(t *testing.T) {
	webui.Test(t, "styles_csv", func(t *testing.T, r struct {
		ID, CSV string
		Styles  [][3]string // a cell that is missing is null there, and "" here
	}) {
		all, err := ReadStyles(strings.NewReader(r.CSV))
		var got [][3]string
		for _, s := range all {
			got = append(got, [3]string{s.Name, s.Prompt, s.Negative})
		}
		if err != nil || !slices.Equal(got, r.Styles) {
			t.Errorf("%s: %q, %v, want %q", r.ID, got, err, r.Styles)
		}
	})
	var all Styles
	webui.Test(t, "styles", func(t *testing.T, r stylesRecord) {
		if r.Op == "database" {
			var lists [][3]string
			if err := json.Unmarshal(r.Styles, &lists); err != nil {
				t.Fatal(err)
			}
			for _, s := range lists {
				all = append(all, Style{s[0], s[1], s[2]})
			}
			return
		}
		r.check(t, all)
	})
}

type stylesRecord struct {
	ID, Op           string
	Styles           json.RawMessage
	Prompt, Negative string
	PromptOut        string `json:"prompt_out"`
	NegativeOut      string `json:"negative_out"`
	Found            []string
	Style, Out       string
	Match            bool
}

// check looks at one record. Infotexts belong to package infotext.
func (r stylesRecord) check(t *testing.T, all Styles) {
	var got, want any
	switch r.Op {
	case "apply":
		var names []string
		if err := json.Unmarshal(r.Styles, &names); err != nil {
			t.Fatal(err)
		}
		p, n := all.Apply(r.Prompt, r.Negative, names...)
		got, want = fmt.Sprintf("%q %q", p, n), fmt.Sprintf("%q %q", r.PromptOut, r.NegativeOut)
	case "extract":
		p, n, found := all.Extract(r.Prompt, r.Negative)
		got, want = fmt.Sprintf("%q %q %q", p, n, found), fmt.Sprintf("%q %q %q", r.PromptOut, r.NegativeOut, r.Found)
	case "extract_text":
		out, match := without(r.Style, r.Prompt)
		got, want = fmt.Sprintf("%q %t", out, match), fmt.Sprintf("%q %t", r.Out, r.Match)
	}
	if got != want {
		t.Errorf("%s: %s is %v, want %v", r.ID, r.Op, got, want)
	}
}
