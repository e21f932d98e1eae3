package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/examples/internal/terminal"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/unet"
	"github.com/atelier-go/atelier/weights"
)

// sd15 are the networks that LoRAs are looked at for by default.
func sd15() (clip.Config, unet.Config) { return clip.SD15(), unet.SD15() }

// shown is how many tags are listed.
const shown = 20

// inspect shows what a file is. A file that is no LoRA for the model is shown as well, and then an error.
func inspect(_ context.Context, c *command) error {
	var s shapes
	var all bool
	s.define(c)
	c.BoolVar(&all, "metadata", false, "show all metadata as JSON")
	path, err := c.file()
	if err != nil {
		return err
	}
	targets, err := s.targets(path)
	if err != nil {
		return err
	}
	i, err := lora.Inspect(path, targets)
	if err != nil {
		return err
	}
	row := func(name, format string, values ...any) {
		fmt.Fprintf(c.out, "%-18s %s\n", name, printable(fmt.Sprintf(format, values...)))
	}
	row("file", "%s, %s, tensors: %s", path, terminal.Bytes(i.Bytes), tally(i.Types))
	if len(i.Forms) > 0 {
		row("names", "%s", strings.Join(i.Forms, ", "))
	}
	if a := i.Adapter; a != nil {
		describe(row, a)
		printKeys(c.out, "the model has no such module:", a.Unmatched)
		printKeys(c.out, "no part of the LoRA:", a.Ignored)
		hash(row, "sshs_model_hash", i.Metadata["sshs_model_hash"], i.ModelHash)
		hash(row, "sshs_legacy_hash", i.Metadata["sshs_legacy_hash"], i.LegacyHash)
	}
	row("base model", "%s", baseModel(i))
	if all {
		text, err := json.MarshalIndent(i.Metadata, "", "  ")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text) + "\n") {
			fmt.Fprintln(c.out, printable(strings.TrimSuffix(line, "\n")))
		}
	} else {
		training(row, i.Metadata)
	}
	return i.Problem
}

// describe shows the modules.
func describe(row func(name, format string, values ...any), a *lora.Adapter) {
	networks, algorithms, ranks, alphas, scales := map[weights.Kind]int{}, map[string]int{}, map[int]int{}, map[float64]int{}, map[float64]int{}
	for i := range a.Modules {
		m := &a.Modules[i]
		networks[m.Kind]++
		algorithms[m.Algorithm()]++
		if m.Rank() > 0 {
			ranks[m.Rank()]++
		}
		if l, ok := m.Delta.(lora.LowRank); ok {
			alphas[l.Alpha]++
			scales[l.Scale()]++
		}
	}
	row("modules", "%d: %s", len(a.Modules), tally(networks))
	row("algorithm", "%s", tally(algorithms))
	row("rank", "%s", tally(ranks))
	row("alpha", "%s", tally(alphas))
	row("scale alpha/rank", "%s", tally(scales))
}

// tally lists what was counted, as "8 (264)", with a count for each where there are several.
func tally[K cmp.Ordered](counts map[K]int) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(counts)) {
		if len(parts) == shown {
			parts = append(parts, fmt.Sprintf("… (%d different ones)", len(counts)))
			break
		}
		parts = append(parts, fmt.Sprintf("%v (%d)", key, counts[key]))
	}
	return strings.Join(parts, ", ")
}

// hash compares a stored hash with the computed one. LyCORIS and OneTrainer write "0x" before theirs, and LyCORIS's is of
// something else.
func hash(row func(name, format string, values ...any), name, stored, computed string) {
	digits, prefixed := strings.CutPrefix(stored, "0x")
	switch {
	case computed == "":
	case stored == "":
		row(name, "%s (computed; none is stored)", computed)
	case strings.EqualFold(digits, computed):
		row(name, "%s (as computed)", stored)
	case prefixed:
		row(name, "%s (computed; stored is %s, which is hashed in another way, as LyCORIS does)", computed, stored)
	default:
		row(name, "%s stored, %s computed: the file was changed or converted after it was hashed", stored, computed)
	}
}

// baseModel guesses what the file was trained on.
func baseModel(i *lora.Inspection) string {
	guess := "unknown"
	if i.Adapter != nil {
		guess = "Stable Diffusion 1.x, by its shapes"
	}
	for _, key := range []string{"modelspec.architecture", "ss_base_model_version"} {
		if v := i.Metadata[key]; v != "" {
			guess = v
		}
	}
	if name := i.Metadata["ss_sd_model_name"]; name != "" && name != "None" {
		guess += ", file " + name
	}
	if hash := i.Metadata["ss_sd_model_hash"]; hash != "" && hash != "None" {
		guess += " [" + hash + "]"
	}
	return guess
}

// training shows the metadata that people ask for.
func training(row func(name, format string, values ...any), metadata map[string]string) {
	for _, e := range []struct{ name, keys string }{
		{"name", "modelspec.title ss_output_name modelspec.merged_from"}, {"network", "ss_network_module ss_network_dim ss_network_alpha ss_network_args"},
		{"learning rates", "ss_learning_rate ss_unet_lr ss_text_encoder_lr ss_lr_scheduler"}, {"optimizer", "ss_optimizer ss_seed"},
		{"steps", "ss_steps ss_max_train_steps ss_epoch ss_num_epochs"}, {"pictures", "ss_num_train_images ss_num_reg_images ss_dataset_dirs"},
		{"training", "ss_resolution ss_total_batch_size ss_clip_skip ss_noise_offset ss_multires_noise_iterations ss_min_snr_gamma ss_training_comment"},
	} {
		var parts []string
		for key := range strings.FieldsSeq(e.keys) {
			if v := metadata[key]; v != "" && v != "None" {
				parts = append(parts, strings.TrimPrefix(strings.TrimPrefix(key, "modelspec."), "ss_")+" "+v)
			}
		}
		if len(parts) > 0 {
			row(e.name, "%s", strings.Join(parts, ", "))
		}
	}
	tags, err := lora.TagFrequency(metadata)
	switch {
	case err != nil:
		row("tags", "unreadable: %v", err)
	case len(tags) > 0:
		var parts []string
		for _, t := range tags[:min(len(tags), shown)] {
			parts = append(parts, fmt.Sprintf("%s (%d)", t.Tag, t.Count))
		}
		if len(tags) > shown {
			parts = append(parts, fmt.Sprintf("and %d more", len(tags)-shown))
		}
		row("tags", "%s", strings.Join(parts, ", "))
	}
}

// printable is a stranger's text without what a terminal would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
