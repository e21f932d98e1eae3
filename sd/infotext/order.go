package infotext

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// The keys that the web UI writes in this order, before and behind all others.
var (
	first = []string{
		"Steps", "Sampler", "Schedule type", "CFG scale", "Image CFG scale", "Seed", "Face restoration", "Size", "Model hash", "Model", "FP8 weight",
		"Cache FP16 weight for LoRA", "VAE hash", "VAE", "Variation seed", "Variation seed strength", "Seed resize from", "Denoising strength",
		"Conditional mask weight", "Clip skip", "ENSD", "Token merging ratio", "Token merging ratio hr", "Init image hash", "RNG", "Tiling",
	}
	last = []string{"Version", "User"}
)

// Sort brings the fields into the web UI's order. Those that have no place in it stay in theirs, before the version.
func (t *Text) Sort() {
	place := func(f Field) int {
		if at := slices.Index(first, f.Key); at >= 0 {
			return at - len(first)
		}
		return slices.Index(last, f.Key) + 1
	}
	slices.SortStableFunc(t.Fields, func(a, b Field) int { return cmp.Compare(place(a), place(b)) })
}

// loraTag is the start of a tag that has a weight.
var loraTag = regexp.MustCompile(`<lora:([^:]+):`)

// RenameLoRAs writes the names that LoRAs have here into the tags of a prompt from elsewhere. The field "Lora hashes" says which file is
// meant by a name there, as "NAME: HASH, NAME: HASH", and local knows the names here by the hash. Tags of others stay, and those without
// a weight too, as in the web UI.
func RenameLoRAs(text, hashes string, local func(hash string) (name string, ok bool)) string {
	byName := make(map[string]string)
	for pair := range strings.SplitSeq(hashes, ",") {
		if name, hash, ok := strings.Cut(pair, ":"); ok {
			byName[trim(name)] = trim(hash)
		}
	}
	return loraTag.ReplaceAllStringFunc(text, func(tag string) string {
		hash, ok := byName[loraTag.FindStringSubmatch(tag)[1]]
		if !ok {
			return tag
		}
		name, ok := local(hash)
		if !ok {
			return tag
		}
		return "<lora:" + name + ":"
	})
}
