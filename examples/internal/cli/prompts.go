package cli

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/sd/prompt"
)

// job is a run of the drawing.
type job struct {
	request        sd.Request
	styles         Styles // that are in it
	batch, batches int    // which of how many that differ in their seeds alone
	from           string // where it stands in a file of prompts; "" is the command line
}

// maxPrompts is how large a file of prompts may be, and maxRuns how often one may be drawn.
const (
	maxPrompts = 16 << 20
	maxRuns    = 1000
)

// lineFields are options of a line that are fields of a request, by their names in JSON.
var lineFields = map[string]string{
	"seed": "seed", "subseed": "variation.seed", "subseed_strength": "variation.strength", "seed_resize_from_h": "seed_resize_from.height", "seed_resize_from_w": "seed_resize_from.width",
	"steps": "steps", "cfg_scale": "guidance", "width": "width", "height": "height", "batch_size": "batch_size",
}

// jobs are the request's, or one for each line of the file of prompts. Where no seed is given, each line draws its own.
func (d *Drawing) jobs() (all []job, err error) {
	if d.prompts == "" {
		r := d.Request
		err := d.styles.Apply(&r)
		return []job{{request: r, styles: d.styles, batches: 1}}, err
	}
	file, err := openfile.ReadFile(d.prompts, maxPrompts)
	if err != nil {
		return nil, fmt.Errorf("-prompts-from-file: %w", err)
	}
	lines, err := prompt.ReadLines(bytes.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("-prompts-from-file %s: %w", d.prompts, err)
	}
	for i, line := range lines {
		some, err := d.line(line)
		if err != nil {
			return nil, fmt.Errorf("-prompts-from-file %s: prompt %d: %w", d.prompts, i+1, err)
		}
		for _, one := range some {
			one.from = fmt.Sprintf("prompt %d of %d", i+1, len(lines))
			all = append(all, one)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("-prompts-from-file %s: there is no prompt in it; write one on a line, or --prompt \"a cat\" --steps 20", d.prompts)
	}
	return all, nil
}

// line is what a line asks for: the request with changes, as often as it says.
func (d *Drawing) line(line prompt.Line) (all []job, err error) {
	r, styles, runs := d.Request, d.styles, 1
	r.Guidance = new(*r.Guidance) // JSON is read into what a pointer points to
	if d.drawn {
		r.Seed = int64(rand.Uint32())
	}
	for _, option := range slices.Sorted(maps.Keys(line)) {
		value := line[option]
		switch field := lineFields[option]; {
		case field != "":
			number, err := Number(value)
			if err != nil || number == 0 && slices.Contains([]string{"steps", "width", "height", "batch_size"}, option) {
				return nil, fmt.Errorf("--%s is %q, want a number, other than 0 where one is needed", option, value)
			}
			if err := set(&r, field+"="+value); err != nil {
				return nil, fmt.Errorf("--%s is %q, want a whole number", option, value)
			}
		case option == "prompt":
			r.Prompt = strings.TrimSpace(value + " " + r.Prompt)
		case option == "negative_prompt":
			r.NegativePrompt = strings.TrimSpace(value + " " + r.NegativePrompt)
		case option == "styles":
			styles.names = append(slices.Clip(styles.names), strings.Split(value, ",")...)
		case option == "sampler_name":
			if r.Sampler, _, err = sampler.Parse(value, ""); err != nil {
				return nil, fmt.Errorf("--%s: %w", option, err)
			}
		case option == "n_iter":
			if runs, err = strconv.Atoi(value); err != nil || runs < 1 || runs > maxRuns {
				return nil, fmt.Errorf("--n_iter is %q, want 1 to %d", value, maxRuns)
			}
		case option != "prompt_for_display":
			return nil, fmt.Errorf("--%s is nothing that this program can do; take it out", option)
		}
	}
	if r.Seed < 0 {
		r.Seed = int64(rand.Uint32())
	}
	err = styles.Apply(&r)
	for batch := range runs {
		one := job{request: r, styles: styles, batch: batch, batches: runs}
		one.request.Seed += int64(batch * r.BatchSize)
		all = append(all, one)
	}
	return all, err
}
