package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/examples/internal/cli"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/sd/grid"
	"github.com/atelier-go/atelier/weights"
	"github.com/atelier-go/atelier/weights/hub"
)

// cell is a picture to make.
type cell struct {
	name    string // its values
	request sd.Request
	model   cli.Model
	path    string // where it is kept, by all that makes it
}

// cells are all, X changing first and Z last.
func (o *options) cells() (all []cell, err error) {
	size := o.axes.Size()
	for i := range size.X * size.Y * size.Z {
		c, err := o.cell(o.axes.At(i))
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

func (o *options) cell(at grid.Cell) (cell, error) {
	p, err := o.axes.Picture(at, o.request, o.styles)
	c := cell{name: o.axes.Label(at), request: p.Request, model: o.model}
	if err != nil {
		return c, hinted(err)
	}
	if p.Checkpoint != "" {
		path, err := weights.FindCheckpoint(p.Checkpoint, c.model.Path, o.pipeline.CheckpointDirs...)
		if err != nil && !hub.IsID(p.Checkpoint) {
			return c, &invalid.FieldError{Field: "Axis.Checkpointname", Value: p.Checkpoint, Err: err}
		}
		c.model.Path = cmp.Or(path, p.Checkpoint)
	}
	if p.VAE != "" {
		c.model.Options.VAE = p.VAE
		if name := c.model.NameOfVAE([]string{"."}); name != "" {
			c.request.VAE = name
		}
	}
	text, err := json.Marshal([]any{c.request, c.model, o.device.Options.Precision.String()})
	c.path = filepath.Join(o.folder(), fmt.Sprintf("%x.png", sha256.Sum256(text))[:16]+".png")
	return c, err
}

// hints are the flags that give an axis what it wants.
var hints = map[string]string{
	"Axis.Refinerswitchat": "-set refiner.checkpoint=NAME", "Axis.Cond.ImageMaskWeight": "-image FILE -mask FILE", "Axis.Maskblur": "-image FILE -mask FILE",
	"Axis.Maskedcontent": "-image FILE -mask FILE", "Axis.Onlymaskedpadding": "-image FILE -mask FILE -set inpaint.inpaint_full_res=true",
	"Axis.Initialnoisemultiplier": "-image FILE", "Axis.Resizemode": "-image FILE", "Axis.Styles": "-styles FILE",
}

// hinted is an error with the flags that mend it.
func hinted(err error) error {
	for _, e := range invalid.Fields(err) {
		if hint := hints[e.Field]; hint != "" && e.Want != "" {
			return fmt.Errorf("%w: %s", err, hint)
		}
	}
	return err
}

// studio is what draws, with one model at a time.
type studio struct {
	options    *options
	device     compute.Device
	log        io.Writer
	model      cli.Model
	checkpoint *weights.Checkpoint
	pipe       *sd.Pipeline
}

// open takes another model, if it is not this one.
func (s *studio) open(ctx context.Context, m cli.Model) (err error) {
	if s.pipe != nil && s.model == m {
		return nil
	}
	s.release()
	s.model = m
	if s.checkpoint, err = m.Open(ctx, s.log); err != nil {
		return err
	}
	s.options.pipeline.Logger, s.options.pipeline.Faces = cli.Warnings(s.log), m.Detector()
	s.pipe, err = sd.New(ctx, s.checkpoint, s.device, s.options.pipeline)
	return err
}

func (s *studio) release() {
	if s.pipe != nil {
		s.pipe.Close()
	}
	if s.checkpoint != nil {
		s.checkpoint.Close()
	}
	s.pipe, s.checkpoint = nil, nil
}

func (s *studio) close() {
	s.release()
	if s.device != nil {
		s.device.Close()
	}
}

// check finds out before the work whether a cell's picture can be made.
func (s *studio) check(ctx context.Context, c cell) error {
	if err := s.open(ctx, c.model); err != nil {
		return err
	}
	memory, err := s.pipe.Memory(c.request)
	if err != nil {
		return err
	}
	return cli.Fits(memory.Total())
}

// draw makes a cell's picture and keeps it.
func (s *studio) draw(ctx context.Context, c cell, progress func(step, of int)) error {
	if err := s.open(ctx, c.model); err != nil {
		return err
	}
	for step, err := range s.pipe.Steps(ctx, c.request) {
		if err != nil {
			return err
		}
		if progress(step.Index+1, step.Total); !step.Last() {
			continue
		}
		result, err := step.Result(ctx)
		if err != nil {
			return err
		}
		return result.Pictures[0].Save(c.path)
	}
	return errors.New("the sampler made no steps")
}

// size reads how large the picture is that was kept of a cell.
func (c cell) size() (image.Point, error) {
	header, err := kept(c, png.DecodeConfig)
	return image.Pt(header.Width, header.Height), err
}

// picture reads what was kept of a cell.
func (c cell) picture() (image.Image, error) { return kept(c, png.Decode) }

// kept reads of the picture of a cell what decode does.
func kept[T any](c cell, decode func(io.Reader) (T, error)) (v T, err error) {
	f, err := os.Open(c.path)
	if err != nil {
		return v, err
	}
	defer f.Close()
	if v, err = decode(f); err != nil {
		err = fmt.Errorf("%s: %w; remove the file, and it is made again", c.path, err)
	}
	return v, err
}
