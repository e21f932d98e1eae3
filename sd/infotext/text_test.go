package infotext

import (
	"slices"
	"strings"
	"testing"
)

func TestText(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       Text
	}{
		{"plain", "a cat\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, Seed: 1",
			Text{"a cat", "dog", []Field{{"Steps", "20"}, {"Sampler", "Euler a"}, {"Seed", "1"}}}},
		{"quoted", "a\nb\nSteps: 20, Size: 512x512, Lora hashes: \"x: 1, y: 2\", Model: \"a, \\\"b\\\"\"",
			Text{"a\nb", "", []Field{{"Steps", "20"}, {"Size", "512x512"}, {"Lora hashes", "x: 1, y: 2"}, {"Model", `a, "b"`}}}},
		{"no settings", "a cat: b, c: d", Text{Prompt: "a cat: b, c: d"}},
		{"no prompt", "Steps: 20, Sampler: Euler, Seed: 1", Text{Fields: []Field{{"Steps", "20"}, {"Sampler", "Euler"}, {"Seed", "1"}}}},
		{"empty", "", Text{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Parse(c.text)
			if got.Prompt != c.want.Prompt || got.Negative != c.want.Negative || !slices.Equal(got.Fields, c.want.Fields) {
				t.Errorf("read as %+v, want %+v", got, c.want)
			}
			if s := got.String(); s != c.text {
				t.Errorf("written as %q, want %q", s, c.text)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("a cat\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, Lora hashes: \"x: 1, y: 2\", Seed: 1")
	f.Fuzz(func(t *testing.T, s string) {
		once := Parse(s)
		again := Parse(once.String())
		// What the web UI itself does not read again is a value that is blank, is its key, or has quotes.
		if !slices.ContainsFunc(once.Fields, func(f Field) bool { return trim(f.Value) == "" || f.Value == f.Key || strings.Contains(f.Value, `"`) }) &&
			len(once.Fields) >= minPairs && len(again.Fields) < minPairs {
			t.Errorf("settings are lost: %q, then %q", once, again)
		}
	})
}
