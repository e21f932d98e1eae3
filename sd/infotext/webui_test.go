package infotext

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/internal/webui"
	"github.com/atelier-go/atelier/sd/prompt"
)

type readRecord struct {
	ID, Text, Error string
	Parsed          map[string]any
	Overrides       [][3]any
	OverridesError  string `json:"overrides_error"`
}

// plain is a value as JSON has it.
func plain(v any) any {
	switch v := v.(type) {
	case int:
		return float64(v)
	case []string:
		list := []any{}
		for _, s := range v {
			list = append(list, s)
		}
		return list
	}
	return v
}

func (r readRecord) check(t *testing.T, styles prompt.Styles, mode StylesMode, all bool) Parameters {
	t.Helper()
	got := Parse(r.Text).Parameters(styles, mode)
	for key, want := range r.Parsed {
		if have, ok := got[key]; !ok || !reflect.DeepEqual(plain(have), want) {
			t.Errorf("%s: %s is %v, want %v, in\n%s", r.ID, key, have, want, r.Text)
		}
	}
	for key, have := range got {
		if _, ok := r.Parsed[key]; !ok && (all || key == "Styles array") {
			t.Errorf("%s: %s is %v, want nothing, in\n%s", r.ID, key, have, r.Text)
		}
	}
	return got
}

func TestWebUIRead(t *testing.T) {
	webui.Test(t, "infotext_read", func(t *testing.T, r readRecord) {
		if r.Error != "" {
			Parse(r.Text).Parameters(nil, ApplyStylesIfIn) // a weight such as 1.2.3, at which the web UI fails, is text: see TestText
			return
		}
		overrides, err := r.check(t, nil, ApplyStylesIfIn, true).Overrides()
		if (err != nil) != (r.OverridesError != "") {
			t.Errorf("%s: settings: %v, want %s", r.ID, err, r.OverridesError)
		}
		var got [][3]any
		for _, s := range overrides {
			got = append(got, [3]any{s.Key, s.Name, plain(s.Value)})
		}
		byName := func(a, b [3]any) int { return strings.Compare(a[1].(string), b[1].(string)) }
		slices.SortFunc(got, byName)
		slices.SortFunc(r.Overrides, byName)
		if err == nil && len(got)+len(r.Overrides) > 0 && !reflect.DeepEqual(got, r.Overrides) {
			t.Errorf("%s: settings\n%v, want\n%v", r.ID, got, r.Overrides)
		}
	})
	var styles prompt.Styles
	webui.Test(t, "styles", func(t *testing.T, r struct {
		readRecord
		Op     string
		Mode   StylesMode
		Styles json.RawMessage
	}) {
		switch r.Op {
		case "database":
			var lists [][3]string
			if err := json.Unmarshal(r.Styles, &lists); err != nil {
				t.Fatal(err)
			}
			for _, s := range lists {
				styles = append(styles, prompt.Style{Name: s[0], Prompt: s[1], Negative: s[2]})
			}
		case "infotext":
			r.check(t, styles, r.Mode, false)
		}
	})
}

func TestWebUIQuote(t *testing.T) {
	webui.Test(t, "quote", func(t *testing.T, r struct {
		ID, Python     string
		Value, Quoted  any
		Text, Unquoted *string
	}) {
		if r.Text != nil {
			if got := Unquote(*r.Text); got != *r.Unquoted {
				t.Errorf("%s: %q is unquoted to %q, want %q", r.ID, *r.Text, got, *r.Unquoted)
			}
			return
		}
		value, want := r.Value, r.Quoted
		if r.Python != "" {
			value, want = r.Python, r.Python
		}
		if value, ok := value.(string); ok && Quote(value) != want {
			t.Errorf("%s: %q is quoted to %q, want %q", r.ID, value, Quote(value), want)
		}
	})
	webui.Test(t, "override_pairs", func(t *testing.T, r struct {
		ID, Error string
		Pairs     []string
		Settings  map[string]any
	}) {
		p := make(Parameters)
		for _, pair := range r.Pairs {
			key, value, _ := strings.Cut(pair, ":")
			p[key] = trim(value)
		}
		all, err := p.Settings()
		got := make(map[string]any)
		for _, s := range all {
			got[s.Name] = plain(s.Value)
		}
		if (err != nil) != (r.Error != "") || err == nil && !reflect.DeepEqual(got, r.Settings) {
			t.Errorf("%s: %v, %v, want %v %s", r.ID, got, err, r.Settings, r.Error)
		}
	})
}

// python is a value of a request as Python prints it, "" for none.
func python(v json.RawMessage) string {
	var value any
	if json.Unmarshal(v, &value) != nil || value == nil {
		return ""
	}
	switch value := value.(type) {
	case string:
		return value
	case bool:
		return map[bool]string{true: "True", false: "False"}[value]
	}
	return string(v)
}

type writeRecord struct {
	ID, Infotext   string
	Index          int
	Request, Other map[string]json.RawMessage
	Options        map[string]json.RawMessage
	Extra          json.RawMessage
}

// text is the infotext of a record, its fields out of order. What stands in it is for who draws pictures to say.
func (r writeRecord) text(t *testing.T) Text {
	t.Helper()
	option := func(name, preset string) string {
		if v, ok := r.Options[name]; ok {
			return python(v)
		}
		return preset
	}
	of := func(list, single, preset string) string {
		var all []json.RawMessage
		if json.Unmarshal(r.Other[list], &all) == nil && r.Index < len(all) {
			return python(all[r.Index])
		}
		if v, ok := r.Request[single]; ok {
			return python(v)
		}
		return preset
	}
	other := func(name, preset string) string {
		if v, ok := r.Other[name]; ok {
			return python(v)
		}
		return preset
	}
	request := func(name string) string { return python(r.Request[name]) }
	text := Text{Prompt: of("all_prompts", "prompt", ""), Negative: of("all_negative_prompts", "negative_prompt", "")}
	decoder := json.NewDecoder(strings.NewReader(string(r.Extra)))
	for n := 0; decoder.More(); n++ { // a map would lose the order
		if n == 0 {
			if _, err := decoder.Token(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		key, err := decoder.Token()
		var value json.RawMessage
		if err != nil || decoder.Decode(&value) != nil {
			t.Fatalf("%s: %s", r.ID, r.Extra)
		}
		var list []json.RawMessage
		if json.Unmarshal(value, &list) == nil && len(list) > 0 {
			value = list[r.Index]
		}
		if string(value) != "null" {
			text.Add(key.(string), python(value))
		}
	}
	add := func(key, value string) {
		if value != "" {
			text.Add(key, value)
		}
	}
	if option("add_version_to_infotext", "True") == "True" {
		add("Version", "v1.10.1")
	}
	if strength := request("subseed_strength"); strength != "" && strength != "0" {
		add("Variation seed strength", strength)
		add("Variation seed", of("all_subseeds", "", "99"))
	}
	if w, h := request("seed_resize_from_w"), request("seed_resize_from_h"); w != "" && w > "0" && h > "0" {
		add("Seed resize from", w+"x"+h)
	}
	if s := request("sampler_name"); (s == "Euler a" || strings.HasSuffix(s, " a")) && request("eta") != "0.0" {
		add("ENSD", option("eta_noise_seed_delta", ""))
	}
	if option("randn_source", "GPU") != "GPU" {
		add("RNG", option("randn_source", ""))
	}
	if request("restore_faces") == "True" {
		add("Face restoration", option("face_restoration_model", "CodeFormer"))
	}
	if request("tiling") == "True" || option("tiling", "False") == "True" {
		add("Tiling", "True")
	}
	if skip := option("CLIP_stop_at_last_layers", "1"); skip != "1" {
		add("Clip skip", skip)
	}
	if ratio := option("token_merging_ratio", "0"); strings.Trim(ratio, "0.") != "" {
		add("Token merging ratio", ratio)
	}
	if option("add_user_name_to_info", "False") == "True" {
		add("User", request("user"))
	}
	for _, f := range []Field{
		{"Init image hash", request("init_img_hash")}, {"Image CFG scale", request("image_cfg_scale")},
		{"VAE", other("sd_vae_name", "")}, {"VAE hash", other("sd_vae_hash", "")}, {"Size", request("width") + "x" + request("height")},
		{"Model hash", other("sd_model_hash", "6ce0161689")}, {"Seed", of("all_seeds", "seed", "42")}, {"CFG scale", request("cfg_scale")},
		{"Schedule type", request("scheduler")}, {"Sampler", request("sampler_name")}, {"Steps", request("steps")},
	} {
		add(f.Key, f.Value)
	}
	if option("add_model_name_to_info", "True") == "True" {
		add("Model", other("sd_model_name", "v1-5-pruned-emaonly"))
	}
	return text
}

// TestWebUIWrite brings fields into order and writes them.
func TestWebUIWrite(t *testing.T) {
	webui.Test(t, "infotext_write", func(t *testing.T, r writeRecord) {
		text := r.text(t)
		text.Sort()
		if got := text.String(); got != r.Infotext {
			t.Errorf("%s:\n%s, want\n%s", r.ID, got, r.Infotext)
		}
	})
	webui.Test(t, "lora_paste", func(t *testing.T, r struct {
		ID, Prompt, Hashes, Out, Error string
		Known                          map[string]string
	}) {
		got := RenameLoRAs(r.Prompt, r.Hashes, func(hash string) (string, bool) {
			name, ok := r.Known[hash]
			return name, ok
		})
		if r.Error == "" && got != r.Out { // hashes at which the web UI fails name nothing here
			t.Errorf("%s: %q becomes %q, want %q", r.ID, r.Prompt, got, r.Out)
		}
	})
}
