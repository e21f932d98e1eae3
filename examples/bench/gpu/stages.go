package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/device"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd"
)

// names are those of all stages, in their order.
var names = []string{
	"instructions", "kernels", "conformance", "conformance-libraries", "goldens", "goldens-libraries", "tuning", "bench", "picture", "torch-eager", "torch-compile",
}

// batch is how many pictures a step of training has, as in the predictions.
const batch = "2"

// picturePhases and trainingPhases are those of examples/bench, which is started once for all of a picture, and once for each of training.
const picturePhases = "text_encoder,context,unet_step,vae_decode"

var trainingPhases = []string{"train_step", "train_step_checkpointed"}

// stages are all that there is to do.
func (h *hour) stages() []stage {
	const goldens = "^Test(Golden|Training|Picture)$"
	all := []stage{
		{names[0], "instructions against their simulation, bit for bit", h.test("cuda/internal/simgpu", ".", true)},
		{names[1], "kernels against their simulation, bit for bit", h.test("cuda/internal/kernel", ".", true)},
		{names[2], "the suite that all devices run, by own kernels", h.test("cuda", "^TestConformance$", false)},
		{names[3], "the suite that all devices run, with NVIDIA's libraries", h.test("cuda", "^TestConformance$", true)},
		{names[4], "networks, training and pictures against results of others, by own kernels", h.test("cuda", goldens, false)},
		{names[5], "networks, training and pictures against results of others, with NVIDIA's libraries", h.test("cuda", goldens, true)},
		{names[6], "which way to compute each op is the fastest", h.tune},
		{names[7], "phases of a picture, and steps of training", h.bench},
		{names[8], "a picture of 20 steps", h.picture},
	}
	if h.python == "" || h.model.IsTiny() {
		fmt.Fprintln(h.log, "PyTorch is left out: it needs -python, and -model with a checkpoint")
		return all
	}
	return append(all, stage{names[9], "PyTorch, eager", h.torch("eager")}, stage{names[10], "PyTorch, compiled", h.torch("compile")})
}

// device is the card's name for -device.
func (h *hour) device() string { return fmt.Sprintf("cuda:%d", h.card) }

// tune has every phase run, so that all shapes are met, and keeps what was found out.
func (h *hour) tune(ctx context.Context, log io.Writer) (found, error) {
	if _, err := h.phases(ctx, log, "1"); err != nil {
		return found{}, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return found{}, err
	}
	return h.dump(filepath.Join(cache, "atelier", "cuda"))
}

// dump copies what the cache knows of this card.
func (h *hour) dump(cache string) (f found, err error) {
	files, err := filepath.Glob(filepath.Join(cache, "ways-*.json"))
	for _, from := range files {
		var of struct {
			Card string `json:"card"`
		}
		data, err := os.ReadFile(from)
		if err == nil {
			err = json.Unmarshal(data, &of)
		}
		if err != nil || of.Card != h.machine.Card { // a damaged one is learned anew
			continue
		}
		if err := os.WriteFile(h.path(filepath.Base(from)), data, 0o666); err != nil {
			return f, err
		}
		f.Files = append(f.Files, filepath.Base(from))
	}
	if err == nil && len(f.Files) == 0 {
		err = errors.New("nothing was kept of what was timed")
	}
	return f, err
}

// bench times the phases.
func (h *hour) bench(ctx context.Context, log io.Writer) (found, error) {
	return h.phases(ctx, log, fmt.Sprint(h.rounds))
}

// phases starts examples/bench, in one process for a picture and one for each way to train. One that fails leaves the others their numbers.
func (h *hour) phases(ctx context.Context, log io.Writer, rounds string) (f found, err error) {
	program, err := h.build(ctx, log, "bench", "build", "./examples/bench")
	if err != nil {
		return f, err
	}
	var errs []error
	for _, phases := range append([]string{picturePhases}, trainingPhases...) {
		report := h.path("phases.json")
		args := []string{"-device", h.device(), "-precision", "fp16", "-phases", phases, "-batch", batch, "-rounds", rounds, "-json", report}
		if !h.model.IsTiny() {
			args = append(args, "-model", h.model.Path)
		}
		var times struct{ Phases []timing }
		err := command(ctx, log, h.output, nil, program, args...)
		if err == nil {
			err = errors.Join(readJSON(report, &times), os.Remove(report))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", phases, err))
		}
		f.Timings = append(f.Timings, times.Phases...)
	}
	return f, errors.Join(errs...)
}

// picture draws pictures of 20 steps, of which the first does not count.
func (h *hour) picture(ctx context.Context, log io.Writer) (f found, err error) {
	dev, err := device.Open(h.device(), device.Options{Precision: compute.PrecisionFP16})
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	checkpoint, err := h.model.Open(ctx, log)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, checkpoint.Close()) }()
	pipeline, err := sd.New(ctx, checkpoint, dev, sd.Options{})
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, pipeline.Close()) }()
	t := timing{Name: "picture"}
	for i := range h.rounds + 1 {
		start := time.Now()
		result, err := pipeline.Generate(ctx, sd.Request{Prompt: "a red fox in the snow", Steps: 20, Sampler: sampler.Euler, Seed: 7})
		if err != nil {
			return f, err
		}
		if i > 0 {
			t.All = append(t.All, time.Since(start).Seconds())
			continue
		}
		if err := result.Pictures[0].Save(h.path("picture.png")); err != nil {
			return f, err
		}
	}
	return found{Timings: []timing{t}, Files: []string{"picture.png"}}, nil
}

// torch is PyTorch's side, in a process of its own.
func (h *hour) torch(mode string) func(context.Context, io.Writer) (found, error) {
	return func(ctx context.Context, log io.Writer) (f found, err error) {
		result := h.path("torch.json")
		script := filepath.Join(h.repository, "examples", "bench", "gpu", "torchpeer.py")
		err = command(ctx, log, h.output, []string{"HF_HUB_OFFLINE=1", "TRANSFORMERS_OFFLINE=1"}, h.python, script, "-checkpoint", h.model.Path, "-card", fmt.Sprint(h.card), "-mode", mode,
			"-batch", batch, "-rounds", fmt.Sprint(h.rounds), "-json", result)
		var told struct {
			found
			Errors []string `json:"errors"`
		}
		if err == nil {
			err = errors.Join(readJSON(result, &told), os.Remove(result))
		}
		if err == nil && len(told.Errors) > 0 {
			err = errors.New(strings.Join(told.Errors, "; "))
		}
		return told.found, err
	}
}
