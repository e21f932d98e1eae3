package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// timing is how long something takes.
type timing struct {
	Name string    `json:"phase"`
	All  []float64 `json:"all_seconds"`
}

// median is that of all times.
func (t timing) median() float64 {
	s := slices.Sorted(slices.Values(t.All))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// report is what report.json holds.
type report struct {
	Date    time.Time    `json:"date"`
	Machine machine      `json:"machine"`
	Model   string       `json:"model"`
	Rounds  int          `json:"rounds"`
	Medians []comparison `json:"medians"`
	Stages  []outcome    `json:"stages"`
}

// comparison is a phase's median in Atelier beside what was predicted and PyTorch's; 0 is not known.
type comparison struct {
	Phase     string  `json:"phase"`
	Seconds   float64 `json:"seconds"`
	Least     float64 `json:"least_seconds"`
	Most      float64 `json:"most_seconds"`
	Predicted float64 `json:"predicted_seconds,omitzero"`
	Eager     float64 `json:"torch_eager_seconds,omitzero"`
	Compiled  float64 `json:"torch_compile_seconds,omitzero"`
}

// predictions are the tables of docs/kernels.md with the phase that each is of.
var predictions = map[string]string{
	"unet_step":               "A step of one picture of 512×512 with guidance",
	"train_step_checkpointed": "A LoRA step of two pictures of 512×512",
}

// compare puts the timings of stages side by side.
func (h *hour) compare(page string) (all []comparison) {
	for _, t := range append(h.timings("bench"), h.timings("picture")...) {
		c := comparison{Phase: t.Name, Seconds: t.median(), Least: slices.Min(t.All), Most: slices.Max(t.All)}
		c.Eager, c.Compiled = medianOf(h.timings("torch-eager"), t.Name), medianOf(h.timings("torch-compile"), t.Name)
		if title, ok := predictions[t.Name]; ok && !h.model.IsTiny() {
			c.Predicted = predicted(page, title, h.machine)
		}
		all = append(all, c)
	}
	return all
}

// timings are a stage's, without those of nothing.
func (h *hour) timings(stage string) (times []timing) {
	for _, o := range h.outcomes {
		for _, t := range o.Timings {
			if o.Stage == stage && len(t.All) > 0 {
				times = append(times, t)
			}
		}
	}
	return times
}

// medianOf is the median of a phase, 0 if it was not timed.
func medianOf(times []timing, phase string) float64 {
	i := slices.IndexFunc(times, func(t timing) bool { return t.Name == phase })
	if i < 0 {
		return 0
	}
	return times[i].median()
}

// columns are those of the tables by the card's name. An H200 is held to an H100, which has the same chip and slower memory.
var columns = map[string]string{
	"NVIDIA GeForce RTX 3060": "RTX 3060", "NVIDIA GeForce RTX 4060": "RTX 4060", "NVIDIA GeForce RTX 4090": "RTX 4090",
	"NVIDIA H100 80GB HBM3": "H100 SXM", "NVIDIA H200": "H100 SXM",
}

// predicted is the time in seconds that a table of docs/kernels.md gives for all kernels on a card, 0 if there is no such card or table.
func predicted(page, title string, m machine) (seconds float64) {
	column := columns[m.Card]
	_, section, _ := strings.Cut(page, "\n### "+title)
	section, _, _ = strings.Cut(section, "\n### ")
	heads := strings.Split(headRow.FindString(section), "|")
	sums := strings.Split(sumRow.FindString(section), "|")
	if column == "" || len(heads) != len(sums) {
		return 0
	}
	for i, head := range heads {
		name := strings.TrimSpace(head)
		if name != column && (name != column+", libraries" || len(m.Libraries) == 0) {
			continue
		}
		if ms, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(sums[i]), " ms"), 64); err == nil {
			seconds = ms / 1e3 // the column with libraries comes last
		}
	}
	return seconds
}

var (
	headRow = regexp.MustCompile(`(?m)^\| kernels \|.*$`)
	sumRow  = regexp.MustCompile(`(?m)^\| \*\*all\*\* \|.*$`)
)

// write writes both forms of the report.
func (h *hour) write() error {
	page, err := os.ReadFile(filepath.Join(h.repository, "docs", "kernels.md"))
	if err != nil {
		return err
	}
	r := report{Date: time.Now().UTC().Truncate(time.Second), Machine: h.machine, Model: "tiny-portrait", Rounds: h.rounds, Stages: h.outcomes}
	if !h.model.IsTiny() {
		r.Model = filepath.Base(h.model.Path)
	}
	r.Medians = h.compare(strings.ReplaceAll(string(page), "\r\n", "\n"))
	return errors.Join(writeJSON(h.path("report.json"), r), os.WriteFile(h.path("report.md"), []byte(r.markdown()), 0o666))
}

// markdown is the report for people.
func (r report) markdown() string {
	var b strings.Builder
	m := r.Machine
	fmt.Fprintf(&b, "# %s, %s\n\n", m.Card, r.Date.Format(time.DateOnly))
	fmt.Fprintf(&b, "Compute capability %s, %.1f GB; driver %s; %s, %s; self-test: %s.\n", m.Capability, float64(m.Memory)/1e9, m.Driver, m.System, m.Go, m.SelfTest)
	fmt.Fprintf(&b, "Libraries: %s. Model: %s.\n\n", cmp.Or(strings.Join(m.Libraries, ", "), "none"), r.Model)
	b.WriteString("## Stages\n\n| stage | what | seconds | came to |\n|---|---|---|---|\n")
	for _, o := range r.Stages {
		fmt.Fprintf(&b, "| %s | %s | %.0f | %s |\n", o.Stage, o.What, o.Seconds, strings.ReplaceAll(o.summary(), "|", "\\|"))
	}
	fmt.Fprintf(&b, "\n## Times\n\nMedians in milliseconds of up to %d runs, with the least and the most; how many times what docs/kernels.md predicts, "+
		"and in units of PyTorch's time (less is faster). Training is of rank 16 and two pictures, its prediction of rank 32; on an H200 predictions are an H100's. "+
		"docs/kernels.md has the goals, too.\n\n", r.Rounds)
	b.WriteString("| phase | median | least to most | predicted | of it | of eager PyTorch | of torch.compile |\n|---|---|---|---|---|---|---|\n")
	for _, c := range r.Medians {
		fmt.Fprintf(&b, "| %s | %.2f | %.2f to %.2f | %s | %s | %s | %s |\n", c.Phase, 1e3*c.Seconds, 1e3*c.Least, 1e3*c.Most,
			milliseconds(c.Predicted), ratio(c.Seconds, c.Predicted), ratio(c.Seconds, c.Eager), ratio(c.Seconds, c.Compiled))
	}
	for _, o := range r.Stages {
		if o.Error != "" {
			fmt.Fprintf(&b, "\n## %s failed\n\n```\n%s\n```\n\nAll that it said is in %s.log.", o.Stage, o.Error, o.Stage)
			if o.Tests != nil && len(o.Tests.Failed) > 0 {
				fmt.Fprintf(&b, " These tests failed: %s.", strings.Join(o.Tests.Failed, ", "))
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// summary is a stage's in a line.
func (o outcome) summary() string {
	var parts []string
	switch {
	case o.Began.IsZero():
		return "not yet"
	case o.Error != "":
		parts = append(parts, "**failed**, see below")
	default:
		parts = append(parts, "done")
	}
	if c := o.Tests; c != nil {
		parts = append(parts, fmt.Sprintf("%d tests passed, %d failed, %d left out", c.Passed, len(c.Failed), c.Skipped))
		if n := c.Equal + c.Approximate + c.Different; n > 0 {
			parts = append(parts, fmt.Sprintf("of %d launches %d gave equal bits, %d were approximate, %d differed", n, c.Equal, c.Approximate, c.Different))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Versions)) {
		parts = append(parts, name+" "+o.Versions[name])
	}
	return strings.Join(append(parts, o.Files...), "; ")
}

// milliseconds formats a time, "–" if it is not known.
func milliseconds(seconds float64) string {
	if seconds == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f", 1e3*seconds)
}

func ratio(a, b float64) string {
	if b == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", a/b)
}
