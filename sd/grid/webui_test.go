package grid

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/internal/webui"
	"github.com/atelier-go/atelier/invalid"
)

// TestWebUI compares with the web UI's X/Y/Z plot. Where it changes nothing because a value makes no sense, and says so in its log
// only, there is an error here. Names of samplers of other programs, which it does not know, are values here; a VAE that it does
// not find, for which it takes its own, is left to who opens it.
func TestWebUI(t *testing.T) {
	webui.Test(t, "xyz_axis", func(t *testing.T, r axisRecord) { r.check(t) })
	webui.Test(t, "xyz_order", func(t *testing.T, r orderRecord) { r.check(t) })
	webui.Test(t, "xyz_apply", func(t *testing.T, r applyRecord) { r.check(t) })
}

type axisRecord struct {
	ID, Axis, Values string
	Dropdown         []string
	CSV              bool `json:"csv_mode"`
	Parsed           []any
	Labels           []string
	Error            string
}

func (r axisRecord) check(t *testing.T) {
	k, err := FindKind(r.Axis)
	if err != nil {
		t.Errorf("%s: %v", r.ID, err)
		return
	}
	a, err := Parse(r.Axis, r.Values)
	if k.Choices && !r.CSV {
		a, err = Choose(r.Axis, r.Dropdown)
	}
	if err == nil && (k.Name == "Checkpoint name" || k.Name == "Refiner checkpoint") {
		err = a.Check([]string{"None", "A-model", "B-model"})
	}
	if r.Error != "" {
		other := k.Name == "Sampler" || k.Name == "Hires sampler"
		if fields := invalid.Fields(err); len(fields) == 0 && !(other && err == nil) {
			t.Errorf("%s: %q gives %v, want an error for %s", r.ID, r.Values, err, r.Error)
		}
		return
	}
	if err != nil {
		t.Errorf("%s: %v", r.ID, err)
		return
	}
	var want []any
	for _, value := range r.Parsed {
		want = append(want, k.typed(value))
	}
	if fmt.Sprintf("%T%#v", a.Values, a.Values) != fmt.Sprintf("%T%#v", want, want) || !slices.Equal(a.Labels(), r.Labels) {
		t.Errorf("%s: %q is %#v %q, want %#v %q", r.ID, r.Values, a.Values, a.Labels(), want, r.Labels)
	}
}

type orderRecord struct {
	ID, X, Y, Z, Outer, Middle string
	Sizes                      []int
	Steps                      int `json:"total_steps_of_20"`
}

type applyRecord struct {
	ID, Axis      string
	Value         any
	All           []any `json:"all_values"`
	Before, After map[string]any
}

func (r orderRecord) check(t *testing.T) {
	axis := func(name string, n int) *Axis {
		k, err := FindKind(name)
		if err != nil {
			t.Fatal(err)
		}
		a := &Axis{Kind: k}
		for i := range n {
			a.Values = append(a.Values, i+1)
		}
		return a
	}
	g := Grid{axis(r.X, r.Sizes[0]), axis(r.Y, r.Sizes[1]), axis(r.Z, r.Sizes[2])}
	order := g.Order()
	if got := string("xyz"[order[0]]) + string("xyz"[order[1]]); got != r.Outer+r.Middle {
		t.Errorf("%s: the order is %s, want %s%s", r.ID, got, r.Outer, r.Middle)
	}
	if got := g.Steps(20); got != r.Steps {
		t.Errorf("%s: %d steps, want %d", r.ID, got, r.Steps)
	}
}

func (r applyRecord) check(t *testing.T) {
	k, err := FindKind(r.Axis)
	if err != nil {
		t.Errorf("%s: %v", r.ID, err)
		return
	}
	a := &Axis{Kind: k}
	for _, value := range r.All {
		a.Values = append(a.Values, k.typed(value))
	}
	at := slices.IndexFunc(r.All, func(value any) bool { return reflect.DeepEqual(value, r.Value) })
	j := &Job{Settings: map[string]any{"width": 512, "height": 512, "steps": 20}, Overrides: map[string]any{}}
	j.Prompt, _ = r.Before["prompt"].(string)
	j.Negative, _ = r.Before["negative_prompt"].(string)
	if styles, ok := r.Before["styles"].([]any); ok {
		j.Styles = []string{styles[0].(string)}
	}
	before := j.plain()
	err = a.Apply(at, j)
	got := j.plain()
	maps.DeleteFunc(got, func(key string, value any) bool { return reflect.DeepEqual(value, before[key]) })
	if vae, ok := r.Value.(string); ok && k.Name == "VAE" && err == nil && !strings.EqualFold(strings.TrimSpace(vae), "automatic") {
		if want := r.After["override_settings"].(map[string]any); want["sd_vae"] == "Automatic" && !strings.EqualFold(vae, "auto") {
			return // it has no such VAE
		}
	}
	if !reflect.DeepEqual(got, r.After) {
		t.Errorf("%s: changes %v, want %v (%v)", r.ID, got, r.After, err)
	}
	if err != nil && len(invalid.Fields(err)) == 0 {
		t.Errorf("%s: %v is not of a field", r.ID, err)
	}
}

// plain is a job as the records have it.
func (j *Job) plain() map[string]any {
	all := map[string]any{"prompt": j.Prompt, "negative_prompt": j.Negative, "styles": j.Styles, "override_settings": j.Overrides}
	maps.Copy(all, j.Settings)
	text, _ := json.Marshal(all)
	all = nil
	if err := json.Unmarshal(text, &all); err != nil {
		panic(err)
	}
	return all
}

// typed is a value of JSON as one of a kind.
func (k *Kind) typed(value any) any {
	switch v := value.(type) {
	case float64:
		if k.values == reals {
			return v
		}
		return int(v)
	case []any:
		var list []string
		for _, one := range v {
			list = append(list, one.(string))
		}
		return list
	case string:
		if n, ok := map[string]float64{"nan": math.NaN(), "inf": math.Inf(1), "-inf": math.Inf(-1)}[v]; ok && k.values == reals {
			return n
		}
	}
	return value
}

// TestRest has what the web UI does not: axes of LoRAs, and errors that list what there is.
func TestRest(t *testing.T) {
	for _, c := range []struct{ axis, value, prompt, want string }{
		{"LoRA weight", "0.4", "a <lora:person:0.6> b", "a <lora:person:0.4> b"},
		{"lora weight", "1", "<lora:person>", "<lora:person:1.0>"},
		{"LoRA epoch", "3", "<lora:person-000007:0.6>", "<lora:person-000003:0.6>"},
		{"LoRA", "other", "<lora:person:0.6:1>", "<lora:other:0.6:1>"},
	} {
		a, err := Parse(c.axis, c.value)
		if err != nil {
			t.Fatal(err)
		}
		j := &Job{Prompt: c.prompt}
		if err := a.Apply(0, j); err != nil || j.Prompt != c.want {
			t.Errorf("%s %s: %q, %v, want %q", c.axis, c.value, j.Prompt, err, c.want)
		}
		if err := a.Apply(0, &Job{Prompt: "none"}); err == nil {
			t.Errorf("%s: a prompt without a LoRA is taken", c.axis)
		}
	}
	for axis, says := range map[string]string{"Magic": "CFG Scale", "Steps=1-1000000": "10000 values", "Prompt order=a,b,c,d,e,f,g,h": "7 texts", "Sampler=nope": "DPM++ 2M", "Steps=x": "1-5", "[ADetailer] ADetailer sampler 1st=nope": "DPM++ 2M"} {
		name, values, _ := strings.Cut(axis, "=")
		if _, err := Parse(name, values); err == nil || len(invalid.Fields(err)) != 1 || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q in it", axis, err, says)
		}
	}
}

// TestNames has axes whose values are names that the API has numbers for.
func TestNames(t *testing.T) {
	for axis, want := range map[string]int{"Resize mode=crop and Resize": 1, "Masked content=latent nothing": 3, "Masked content=noise": -1} {
		name, text, _ := strings.Cut(axis, "=")
		a, err := Parse(name, text)
		if err != nil {
			t.Fatal(err)
		}
		j := new(Job)
		err = a.Apply(0, j)
		if n := slices.Collect(maps.Values(j.Settings)); want < 0 && len(invalid.Fields(err)) != 1 || want >= 0 && (err != nil || len(n) != 1 || n[0] != want) {
			t.Errorf("%s: %v, %v, want %d", axis, j.Settings, err, want)
		}
	}
}

// TestFloods reads a megabyte of values: of too many it reads none, and what is wrong with one is said in a few words.
func TestFloods(t *testing.T) {
	for _, name := range []string{"Sampler", "CFG Scale", "Seed", "Size", "Prompt order"} {
		for _, unit := range []string{"Euler,", ",", "1-5,", "a", "\"\""} {
			_, err := Parse(name, strings.Repeat(unit, 1<<20/len(unit)))
			if err != nil && len(err.Error()) > 1000 {
				t.Errorf("%s of %q: an error of %d bytes", name, unit, len(err.Error()))
			}
			if name == "Sampler" && (err == nil || strings.HasSuffix(unit, ",") && !strings.Contains(err.Error(), "values at most")) {
				t.Errorf("%q: %v", unit, err)
			}
		}
	}
}

// TestCells wants every cell once, the dearest axis changing least.
func TestCells(t *testing.T) {
	x, _ := Parse("Seed", "1-3")
	y, _ := Parse("Checkpoint name", "a,b")
	cells := slices.Collect(Grid{X: x, Y: y}.Cells())
	if want := []Cell{{0, 0, 0}, {1, 0, 0}, {2, 0, 0}, {0, 1, 0}, {1, 1, 0}, {2, 1, 0}}; !slices.Equal(cells, want) {
		t.Errorf("cells %v, want %v", cells, want)
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"1-5 (+2)", "10-1 (-3)", "1-10 [5]", `a,"b, ""c""",d`, "1.5-2 (+.1)", "nan,inf,1e9-1e10", "0-0 [0]", "512x768"} {
		f.Add("Steps", text)
		f.Add("Eta", text)
		f.Add("Prompt order", text)
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		a, err := Parse(name, text)
		if err != nil {
			return
		}
		if len(a.Labels()) != len(a.Values) || len(a.Values) > MaxValues {
			t.Errorf("%d labels of %d values", len(a.Labels()), len(a.Values))
		}
		for i := range min(len(a.Values), 10) {
			a.Apply(i, &Job{Prompt: text, Negative: name}) // an error or not
		}
	})
}
