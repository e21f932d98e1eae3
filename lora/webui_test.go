package lora_test

import (
	"math"
	"regexp"
	"slices"
	"testing"

	"github.com/atelier-go/atelier/internal/webui"
	"github.com/atelier-go/atelier/lora"
)

// loraTag is a tag of the records, whose prompts have no others.
var loraTag = regexp.MustCompile(`<lora:([^>]+)>`)

// TestWebUI compares the meaning of tags with the web UI's. Three of its answers are errors here: strengths that are no finite
// numbers, which give black pictures there, an empty name, which no file has, and less than one rank.
func TestWebUI(t *testing.T) {
	webui.Test(t, "lora_args", func(t *testing.T, r struct {
		ID, Prompt, Error string
		SDLoRA            string `json:"sd_lora"`
		Names             []string
		TE, UNet          []webui.Number
		Dyn               []*int
		AllPrompts        []string `json:"all_prompts"`
	}) {
		prompt := r.Prompt
		tags, err := parseAll(prompt)
		if r.SDLoRA != "None" && err == nil {
			prompt = lora.WithTag(prompt, tags, r.SDLoRA, 1)
			tags, err = parseAll(prompt)
		}
		if r.Error != "" || slices.Contains(r.Names, "") || slices.ContainsFunc(slices.Concat(r.TE, r.UNet), notFinite) ||
			slices.ContainsFunc(r.Dyn, func(dyn *int) bool { return dyn != nil && *dyn < 1 }) {
			if err == nil {
				t.Errorf("%s: %q gives %+v, want an error", r.ID, r.Prompt, tags)
			}
			return
		}
		if err != nil {
			t.Errorf("%s: %q: %v", r.ID, r.Prompt, err)
			return
		}
		if len(tags) != len(r.Names) || prompt != r.AllPrompts[0] {
			t.Errorf("%s: %q becomes %q with %+v, want %q with %q", r.ID, r.Prompt, prompt, tags, r.AllPrompts[0], r.Names)
			return
		}
		for i, tag := range tags {
			rank := 0
			if r.Dyn[i] != nil {
				rank = *r.Dyn[i]
			}
			if tag.Name != r.Names[i] || !r.TE[i].Equal(tag.TextEncoder) || !r.UNet[i].Equal(tag.UNet) || tag.Rank != rank {
				t.Errorf("%s: %q has %+v, want %q, %v, %v, %d", r.ID, r.Prompt, tag, r.Names[i], r.TE[i], r.UNet[i], rank)
			}
		}
	})
}

// parseAll reads all tags of a prompt.
func parseAll(prompt string) (tags []lora.Tag, err error) {
	for _, m := range loraTag.FindAllStringSubmatch(prompt, -1) {
		tag, err := lora.ParseTag(m[1])
		if err != nil {
			return nil, err
		}
		tags = append(tags, tag)
	}
	return tags, nil
}

func notFinite(n webui.Number) bool { return math.IsNaN(float64(n)) || math.IsInf(float64(n), 0) }
