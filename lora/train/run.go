package train

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/atelier-go/atelier/internal/engine"
	"github.com/atelier-go/atelier/internal/optim"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/lora/dataset"
)

// Run trains an adapter on folders of pictures and saves it as OutputDir/OutputName.safetensors, in kohya's form with its
// metadata. The loop over it gets each [Event] as it happens, and the training waits for the loop. An error is the last that it
// gets, with a nil event; without one the training has come to its end. Everything wrong with the configuration is reported
// together, before anything is computed.
//
// When ctx is done, or the loop is left, the training stops within one op. Then, and whatever else ends it, it saves what the
// steps so far have learned beside the final file as OutputName-step00000123.safetensors with its state, or in the user's cache
// if OutputDir does not take them; the error is an *InterruptedError. Files and states appear whole or not at all; what cannot
// be saved before the end is a [Warning]. While it runs no other training writes to the same output. Equal configurations give
// equal factors, whether or not the training was stopped, or killed, and resumed between.
//
// A loss that is not finite, or gradients that no loss scale makes so, take the training back to its last state, with half
// the learning rates from there; the second time they end it. That state may be one of those that are saved every so often by the clock:
// where a training that has gone wrong goes on from is the one thing in which equal configurations may differ, and hours of work are kept
// for it.
func Run(ctx context.Context, cfg Config) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		ctx, stop := context.WithCancelCause(ctx)
		defer stop(nil)
		r := &run{
			config: cfg.defaults(), started: time.Now(), session: rand.Uint32(),
			listener: listener{yield: func(e Event) bool { return yield(e, nil) }, stop: stop},
		}
		defer r.close() // whatever the loop does
		err := r.prepare(ctx)
		if err == nil {
			err = r.train(ctx)
		}
		if err = errors.Join(err, r.close()); err != nil && !r.left {
			yield(nil, err)
		}
	}
}

// run is one training.
type run struct {
	listener
	config    Config
	started   time.Time
	session   uint32
	networks  *engine.Networks
	dataset   *dataset.Dataset
	schedule  optim.Schedule
	rates     Rates // at their highest
	batcher   *batcher
	trainer   *Trainer
	saver     *saver
	validator *validator
	painter   *painter
	identity  identity
	base      map[string]string // metadata that stay
	warnings  []string          // to be told before anything else

	at      position
	pending []float64 // losses of batches that no step has used yet
}

// prepare makes everything that a training needs, and computes nothing.
func (r *run) prepare(ctx context.Context) (err error) {
	c := &r.config
	if c.Checkpoint != nil {
		if r.networks, err = engine.Open(c.Checkpoint); err != nil {
			return err
		}
		if c.Trainer.Objective, err = c.Trainer.following(r.networks); err != nil {
			return invalid.Under("Config.Trainer", err)
		}
	}
	if err := c.check(); err != nil {
		return err
	}
	r.rates, r.at, r.painter = Rates{c.TextEncoderLR, c.UNetLR}, r.start(), &painter{*c}
	var unlocked string
	if r.saver, unlocked, err = newSaver(*c); err != nil {
		return err
	}
	r.remark(unlocked)
	if r.dataset, err = dataset.Open(ctx, c.Dataset); err != nil {
		return err
	}
	r.saver.count(r.dataset.Steps().Epochs)
	if err := r.makeSchedule(); err != nil {
		return err
	}
	if err := r.makeTrainer(); err != nil {
		return err
	}
	if err := r.identify(); err != nil {
		return err
	}
	if err := r.resume(); err != nil {
		return err
	}
	if err := r.saver.removeLeftovers(c.OutputDir, c.Resume); err != nil {
		r.remark(fmt.Sprintf("%v; what another training left behind stays there", err))
	}
	if err := r.describe(ctx); err != nil {
		return err
	}
	if r.log, err = c.Logging.open(r.started); r.log != nil {
		r.log.norms, r.log.rates = c.Trainer.ScaleWeightNorms > 0, func(x Rates) []GroupRate { return r.trainer.GroupRates(x) }
	}
	return err
}

// makeTrainer makes what computes: of batches from pictures, and with them.
func (r *run) makeTrainer() (err error) {
	c := &r.config
	modules, lost, err := r.network()
	if err != nil {
		return err
	}
	r.remark(lost...)
	if r.batcher, err = newBatcher(r.networks, *c); err != nil {
		return err
	}
	r.validator = newValidator(r.batcher, r.dataset, *c)
	r.trainer, err = newTrainer(c.Device, r.networks, modules, c.Trainer)
	return invalid.Under("Config.Trainer", err)
}

// remark keeps warnings for the report.
func (r *run) remark(warnings ...string) {
	for _, w := range warnings {
		if w != "" {
			r.warnings = append(r.warnings, w)
		}
	}
}

// train does everything once the training is prepared.
func (r *run) train(ctx context.Context) error {
	report, err := r.announce()
	if err != nil {
		return err
	}
	r.report(Started{report})
	err = r.cacheLatents(ctx)
	r.saver.begun = time.Now()
	r.saver.safe = r.saver.begun
	if err == nil && r.at.Step == 0 {
		err = r.sampleEpoch(ctx, 0)
	}
	if err == nil {
		err = r.learnAll(ctx)
	}
	if err == nil {
		err = r.finish()
	}
	if err != nil {
		return r.stopped(ctx, err)
	}
	return nil
}

// cacheLatents encodes the pictures if that is to be done once.
func (r *run) cacheLatents(ctx context.Context) error {
	if !r.config.Dataset.CacheLatents && !r.config.Dataset.CacheLatentsToDisk {
		return nil
	}
	return r.batcher.cache(ctx, r.dataset, func(done, total int) { r.report(LatentsCached{done, total}) })
}

// close gives the memory back. Closing twice is harmless.
func (r *run) close() error {
	var errs []error
	if r.trainer != nil {
		errs = append(errs, r.trainer.Close())
	}
	if r.batcher != nil {
		errs = append(errs, r.batcher.encoder.Close())
	}
	if r.saver != nil {
		errs = append(errs, r.saver.close())
	}
	r.closeLog()
	return errors.Join(errs...)
}
