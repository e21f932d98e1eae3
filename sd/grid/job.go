package grid

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/atelier-go/atelier/internal/python"
)

// Job is what makes a picture, in the words of the web UI's API.
type Job struct {
	Prompt, Negative string
	Styles           []string
	Settings         map[string]any // fields of a request: "steps", "cfg_scale", "sampler_name", and of ADetailer's: "ad_denoising_strength"
	Overrides        map[string]any // of its override_settings: "sd_vae", "CLIP_stop_at_last_layers"
}

// Apply makes a job that of value i. The job is not changed if there is an error, which is an *invalid.FieldError.
func (a *Axis) Apply(i int, j *Job) error { return a.apply(a, a.Values[i], j) }

// set puts a value into a copy of a map.
func set(m *map[string]any, key string, value any) error {
	all := make(map[string]any, len(*m)+1)
	maps.Copy(all, *m)
	all[key] = value
	*m = all
	return nil
}

// replace puts a value where the first one stands.
func replace(a *Axis, value any, j *Job) error {
	first := a.Values[0].(string)
	if !strings.Contains(j.Prompt, first) && !strings.Contains(j.Negative, first) {
		return a.invalid(first, "a first value that is in the prompt or the negative prompt, which the others replace")
	}
	j.Prompt, j.Negative = strings.ReplaceAll(j.Prompt, first, value.(string)), strings.ReplaceAll(j.Negative, first, value.(string))
	return nil
}

// reorder puts texts of the prompt in an order. One that the prompt does not have counts as before its last character.
func reorder(_ *Axis, value any, j *Job) error {
	order := value.([]string)
	found := slices.Clone(order)
	slices.SortStableFunc(found, func(a, b string) int { return strings.Index(j.Prompt, a) - strings.Index(j.Prompt, b) })
	rest := []rune(j.Prompt)
	var b strings.Builder
	for i, text := range found {
		at := strings.Index(string(rest), text)
		if at >= 0 {
			at = utf8.RuneCountInString(string(rest)[:at])
		} else {
			at = -1
		}
		b.WriteString(string(rest[:clamp(at, len(rest))]) + order[i])
		rest = rest[clamp(at+utf8.RuneCountInString(text), len(rest)):]
	}
	j.Prompt = b.String() + string(rest)
	return nil
}

// clamp is an index as Python takes it: -1 is before the last.
func clamp(at, n int) int {
	if at < 0 {
		at += n
	}
	return min(max(at, 0), n)
}

func applyVAE(_ *Axis, value any, j *Job) error {
	name := strings.TrimSpace(value.(string))
	switch strings.ToLower(name) {
	case "auto", "automatic":
		name = "Automatic"
	case "none":
		name = "None"
	}
	return set(&j.Overrides, "sd_vae", name)
}

func applyStyles(_ *Axis, value any, j *Job) error {
	j.Styles = append(slices.Clone(j.Styles), strings.Split(value.(string), ",")...)
	return nil
}

// applyOrder keeps the order below the steps.
func applyOrder(_ *Axis, value any, j *Job) error {
	order := value.(int)
	if steps, ok := j.Settings["steps"].(int); ok {
		order = min(order, steps-1)
	}
	return set(&j.Overrides, "uni_pc_order", order)
}

func applyFaces(_ *Axis, value any, j *Job) error {
	switch strings.ToLower(value.(string)) {
	case "codeformer":
		set(&j.Settings, "face_restoration_model", "CodeFormer")
		return set(&j.Settings, "restore_faces", true)
	case "gfpgan":
		set(&j.Settings, "face_restoration_model", "GFPGAN")
		return set(&j.Settings, "restore_faces", true)
	}
	return set(&j.Settings, "restore_faces", slices.Contains([]string{"true", "yes", "y", "1"}, strings.ToLower(value.(string))))
}

func applySize(a *Axis, value any, j *Job) error {
	left, right, _ := strings.Cut(value.(string), "x")
	width, err := python.Int(left)
	height, err2 := python.Int(right)
	if err != nil || err2 != nil {
		return a.invalid(value, "a size such as 512x768")
	}
	set(&j.Settings, "width", width)
	return set(&j.Settings, "height", height)
}

// tag is the first LoRA of a prompt: its name, what follows the name, and its weight if it has one.
var tag = regexp.MustCompile(`<lora:([^:>]+)(?::([^:>]*)([^>]*))?>`)

// retag makes the prompt's first LoRA another one, by its name without the number of an epoch, and its weight with what follows.
func (a *Axis) retag(j *Job, with func(name, rest string) string) error {
	at := tag.FindStringSubmatchIndex(j.Prompt)
	if at == nil {
		return a.invalid(nil, "a prompt with a LoRA, <lora:NAME:1>, for the axis to change")
	}
	name, rest := j.Prompt[at[2]:at[3]], j.Prompt[at[3]:at[1]-1]
	j.Prompt = j.Prompt[:at[0]] + "<lora:" + with(name, rest) + ">" + j.Prompt[at[1]:]
	return nil
}

func applyLoRA(a *Axis, value any, j *Job) error {
	return a.retag(j, func(_, rest string) string { return value.(string) + rest })
}

// epoch is the number that trainers append to the names of files saved before the end.
var epoch = regexp.MustCompile(`-\d{6}$`)

func applyEpoch(a *Axis, value any, j *Job) error {
	return a.retag(j, func(name, rest string) string {
		return fmt.Sprintf("%s-%06d%s", epoch.ReplaceAllString(name, ""), value, rest)
	})
}

func applyWeight(a *Axis, value any, j *Job) error {
	return a.retag(j, func(name, _ string) string { return name + ":" + write(value) })
}
