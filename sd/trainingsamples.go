package sd

import (
	"context"
	"errors"

	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/train"
)

// TrainingSamples makes the function that draws the sample pictures of a training, train.Config.Sample. For each round
// open opens a pipeline on the model that is trained, and it is closed when the pictures are written, so that between
// rounds the training has the memory to itself. Pictures carry their infotext, with the adapter under the name of the
// training and the SHA-256 of its factors as they are.
func TrainingSamples(open func(ctx context.Context) (*Pipeline, error)) func(ctx context.Context, s train.Sample) error {
	return func(ctx context.Context, s train.Sample) (err error) {
		adapter, err := lora.NewAdapter(s.Name, s.Modules)
		if err != nil {
			return err
		}
		p, err := open(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, p.Close()) }()
		if err := p.AddAdapter(s.Name, adapter); err != nil {
			return err
		}
		for _, picture := range s.Pictures {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			err = errors.Join(err, p.drawSample(ctx, picture, s.ClipSkip, s.Name))
		}
		return err
	}
}

// drawSample draws one picture and saves it.
func (p *Pipeline) drawSample(ctx context.Context, s train.SamplePicture, clipSkip int, adapter string) error {
	r := Request{
		Prompt: s.Prompt, NegativePrompt: s.NegativePrompt, Adapters: []Adapter{{Name: adapter}}, Width: s.Width, Height: s.Height,
		Steps: s.Steps, Sampler: s.Sampler, Spacing: s.Spacing, Guidance: &s.Guidance, ClipSkip: clipSkip, Seed: -1,
	}
	if s.Seed != nil {
		r.Seed = *s.Seed
	}
	result, err := p.Generate(ctx, r)
	if err != nil {
		return err
	}
	return result.Pictures[0].Save(s.Path)
}
