package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/tinyportrait"
	"github.com/atelier-go/atelier/weights"
)

// samples draws pictures while a training runs, with the checkpoint at path, "" being the built-in one. The pipeline is
// opened anew for each round: between rounds its memory is the training's.
type samples struct {
	path    string
	options weights.Options
	device  compute.Device
}

func (s *samples) draw(ctx context.Context, round lora.Sample) (err error) {
	dir, err := os.MkdirTemp("", "train-lora")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	adapter := filepath.Join(dir, round.Name+".safetensors")
	if err := lora.Write(adapter, round.Modules, compute.F32, nil); err != nil {
		return err
	}
	var pipe *sd.Pipeline
	if s.path == "" {
		pipe, err = sd.OpenFS(ctx, tinyportrait.FS(), "tiny-portrait", s.device, s.options)
	} else {
		pipe, err = sd.Open(ctx, s.path, s.device, s.options)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pipe.Close()) }()
	for _, p := range round.Pictures {
		request := sd.Request{
			Prompt: p.Prompt, NegativePrompt: p.NegativePrompt, Adapters: []sd.Adapter{{Path: adapter}}, Width: p.Width, Height: p.Height,
			Steps: p.Steps, Guidance: p.Guidance, Sampler: p.Sampler, Spacing: p.Spacing, ClipSkip: round.ClipSkip, Seed: -1,
		}
		if p.Seed != nil {
			request.Seed = *p.Seed
		}
		result, err := pipe.Generate(ctx, request)
		if err != nil {
			return fmt.Errorf("prompt %.60q: %w", p.Prompt, err)
		}
		if err := sd.SavePNG(p.Path, result.Images[0], result.Infotexts[0]); err != nil {
			return err
		}
	}
	return nil
}
