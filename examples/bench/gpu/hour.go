package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// hour does stages on a machine and keeps in a folder what they came to.
type hour struct {
	options
	machine  machine
	log      io.Writer
	outcomes []outcome
}

// stage is a part of the hour.
type stage struct {
	name, what string
	// run writes what it does to log. What it found out before an error counts.
	run func(ctx context.Context, log io.Writer) (found, error)
}

// outcome is what a stage came to.
type outcome struct {
	Stage   string    `json:"stage"`
	What    string    `json:"what"`
	Began   time.Time `json:"began"`
	Seconds float64   `json:"seconds"`
	Error   string    `json:"error,omitempty"`
	found
}

// found is what a stage found out.
type found struct {
	Tests    *counts           `json:"tests,omitempty"`
	Timings  []timing          `json:"timings,omitempty"`
	Versions map[string]string `json:"versions,omitempty"`
	Files    []string          `json:"files,omitempty"` // in the folder
}

func (h *hour) path(name string) string { return filepath.Join(h.output, name) }

// claim makes the folder that of this machine, and refuses one of another.
func (h *hour) claim() error {
	var before machine
	switch err := readJSON(h.path("machine.json"), &before); {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(h.output, 0o777); err != nil {
			return fmt.Errorf("-output: %w", err)
		}
	case err != nil:
		return fmt.Errorf("-output: %w", err)
	case !before.same(h.machine):
		return fmt.Errorf("-output: %s is of %s with driver %s: choose another folder for this machine", h.output, before.Card, before.Driver)
	}
	return writeJSON(h.path("machine.json"), h.machine)
}

// do does the stages that have not been done, and writes the report after each. The error is that of being told to end, or of writing.
func (h *hour) do(ctx context.Context, stages []stage) error {
	h.outcomes = make([]outcome, len(stages))
	for i, s := range stages {
		h.outcomes[i] = outcome{Stage: s.name, What: s.what}
		if !slices.Contains(h.redo, s.name) {
			h.recall(&h.outcomes[i])
		}
	}
	for i, s := range stages {
		if o := h.outcomes[i]; o.done() {
			fmt.Fprintf(h.log, "%s was done before\n", s.name)
			continue
		}
		fmt.Fprintf(h.log, "%s: %s\n", s.name, s.what)
		o, err := h.try(ctx, s)
		if err != nil {
			return err
		}
		if h.outcomes[i] = o; o.Error != "" {
			fmt.Fprintf(h.log, "%s failed: %s\n", s.name, o.Error)
		}
		if err := errors.Join(writeJSON(h.path(s.name+".json"), o), h.write()); err != nil {
			return err
		}
	}
	return h.write()
}

// done tells whether a stage has been done, without an error.
func (o outcome) done() bool { return !o.Began.IsZero() && o.Error == "" }

// recall takes over what an earlier start came to; what cannot be read is done again.
func (h *hour) recall(o *outcome) {
	var before outcome
	if err := readJSON(h.path(o.Stage+".json"), &before); err == nil && before.Stage == o.Stage {
		*o = before
	}
}

// try does a stage, with a log of its own.
func (h *hour) try(ctx context.Context, s stage) (outcome, error) {
	if ctx.Err() != nil {
		return outcome{}, context.Cause(ctx)
	}
	log, err := os.Create(h.path(s.name + ".log"))
	if err != nil {
		return outcome{}, err
	}
	o := outcome{Stage: s.name, What: s.what, Began: time.Now().UTC().Truncate(time.Second)}
	start := time.Now()
	o.found, err = s.run(ctx, log)
	o.Seconds = time.Since(start).Seconds()
	if ctx.Err() != nil {
		return outcome{}, errors.Join(context.Cause(ctx), log.Close())
	}
	if err != nil {
		o.Error = err.Error()
	}
	return o, log.Close()
}

// failed are the names of stages with an error.
func (h *hour) failed() (names []string) {
	for _, o := range h.outcomes {
		if o.Error != "" {
			names = append(names, o.Stage)
		}
	}
	return names
}

func readJSON(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func writeJSON(path string, from any) error {
	data, err := json.MarshalIndent(from, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o666)
}
