package train

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/lora/dataset"
	"github.com/atelier-go/atelier/weights"
)

// Report is what a training will be, told before its first step.
type Report struct {
	Dataset dataset.Report
	// TextEncoder and UNet are what is trained of each network; Modules is 0 where nothing is.
	TextEncoder, UNet NetworkReport
	// Objective is what is minimised, with what the files of the checkpoint say of it.
	Objective Objective
	// Memory is what the device will hold of weights, factors, gradients, moments and activations while it trains; 0 if it cannot
	// tell. Latents kept in memory are not in it, 64 KiB for a picture of 512×512.
	Memory int64
	// Operations is the number of floating-point operations of all steps. Time is about how long they take if the device
	// reaches the usual part of its peak; 0 if it does not tell that.
	Operations float64
	Time       time.Duration
	// Warnings are what is possible but probably not meant. Those about pictures and captions are in Dataset.
	Warnings []string
	// Resumed is the state that the training goes on from, after Step steps; "" if it begins anew.
	Resumed string
	Step    int
}

// NetworkReport is what is trained of a network.
type NetworkReport struct {
	Modules    int     // layers that get factors
	Parameters int     // numbers in these
	Rate       float64 // the highest learning rate of the schedule
	// MinScale and MaxScale bound alpha/rank, which what is learned is multiplied with: a rate of 1e-4 at a scale of 1/16
	// moves weights about as far as 6e-6 at a scale of 1.
	MinScale, MaxScale float64
}

// usualPart is how much of a device's peak a training reaches, measured at full size on CPUs.
const usualPart = 0.7

// Reckon is about how long a device takes for so many floating-point operations of a training, if it reaches the usual part of its peak, which
// it takes a moment to measure; 0 if it does not tell that.
func Reckon(d compute.Device, operations float64) time.Duration {
	peaker, ok := d.(compute.Peaker)
	if !ok {
		return 0
	}
	peak := peaker.Peak()
	if peak <= 0 {
		return 0
	}
	return time.Duration(operations / (usualPart * peak) * float64(time.Second))
}

// announce makes the report.
func (r *run) announce() (Report, error) {
	report := Report{Dataset: r.dataset.Report(), Resumed: r.config.Resume, Step: r.at.Step}
	report.Dataset.FirstCaption = r.batcher.learned(report.Dataset.FirstCaption)
	report.TextEncoder = networkReport(r.trainer.modules, weights.KindTextEncoder, r.rates.TextEncoder)
	report.UNet = networkReport(r.trainer.modules, weights.KindUNet, r.rates.UNet)
	report.Objective, report.Warnings = r.trainer.options.Objective, r.pitfalls()

	// A step of each bucket; the memory is that of the hungriest.
	var programs []*compute.Program
	scale, flops := r.networks.VAE.Config().ScaleFactor(), 0.0
	for _, b := range report.Dataset.Buckets {
		samples := min(b.Count, max(1, r.config.Dataset.Sets[b.Dataset].BatchSize))
		p, err := r.networks.Record(microKey{
			trainer: r.trainer, samples: samples, height: b.Resolution.H / scale, width: b.Resolution.W / scale, tokens: r.networks.Tokenizer.MaxLength() * r.batcher.chunks,
			dropRanks: r.config.Network.RankDropout > 0 || r.config.Network.ModuleDropout > 0, drop: r.config.Network.Dropout > 0, perturbed: r.config.Noise.IPNoiseGamma != 0,
		})
		if err != nil {
			return report, fmt.Errorf("lora: batches of %v: %w", b.Resolution, err)
		}
		programs = append(programs, p)
		flops += float64(p.TotalFLOPs()) * float64(b.Count) / float64(samples)
	}
	update, err := r.networks.Record(updateKey{r.trainer})
	if err != nil {
		return report, fmt.Errorf("lora: %w", err)
	}
	programs = append(programs, update)
	steps := report.Dataset.Steps
	batches := float64(steps.BatchesPerEpoch*(steps.Epochs-1) + steps.LastEpochBatches)
	report.Operations = flops * batches / float64(steps.BatchesPerEpoch)
	report.Time = Reckon(r.config.Device, report.Operations)
	report.Memory, err = r.memory(programs)
	return report, err
}

// memory is what a device holds that has compiled the programs; 0 if it cannot tell.
func (r *run) memory(programs []*compute.Program) (int64, error) {
	estimator, ok := r.config.Device.(compute.Estimator)
	if !ok {
		return 0, nil
	}
	need, err := estimator.Estimate(trainedWeights(r.networks), programs...)
	if err != nil {
		return 0, fmt.Errorf("lora: %w", err)
	}
	// Inputs and outputs of programs are tensors of the trainer, and of an optimizer on the host.
	kept := 0
	for _, f := range r.trainer.factors {
		kept += 4 * f.shape.Elements() * (len(f.now) + 1)
		for _, state := range append(f.state, f.parameter.F32, f.hostGradient.F32) {
			kept += 4 * len(state)
		}
	}
	return need.Total() + int64(kept), nil
}

// networkReport counts the modules of a network.
func networkReport(modules []module, kind weights.Kind, rate float64) NetworkReport {
	n := NetworkReport{Rate: rate}
	for i := range modules {
		m := &modules[i]
		if m.Kind != kind {
			continue
		}
		s := m.Scale()
		if n.Modules == 0 {
			n.MinScale, n.MaxScale = s, s
		}
		n.Modules++
		n.Parameters += m.Down.Shape.Elements() + m.Up.Shape.Elements()
		n.MinScale, n.MaxScale = min(n.MinScale, s), max(n.MaxScale, s)
	}
	return n
}

// String is the report as text for a console.
func (r Report) String() string {
	var b strings.Builder
	b.WriteString(r.Dataset.String())
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if r.Resumed != "" {
		line("resumed: %s, after step %d", r.Resumed, r.Step)
	}
	for _, n := range []struct {
		name string
		NetworkReport
	}{{"text encoder", r.TextEncoder}, {"UNet", r.UNet}} {
		if n.Modules == 0 {
			line("%s: not trained", n.name)
			continue
		}
		scale := fmt.Sprintf("%.3g", n.MaxScale)
		if n.MinScale != n.MaxScale {
			scale = fmt.Sprintf("%.3g to %.3g", n.MinScale, n.MaxScale)
		}
		line("%s: %d modules of %d parameters, learning rate %g, scale alpha/rank %s", n.name, n.Modules, n.Parameters, n.Rate, scale)
	}
	line("the model %s", r.Objective.describe())
	if r.Memory > 0 {
		line("memory: about %.2f GB", float64(r.Memory)/1e9)
	}
	if r.Time > 0 {
		line("time: about %v for %.3g TFLOP", roundTime(r.Time), r.Operations/1e12)
	}
	for _, w := range r.Warnings {
		line("warning: %s", w)
	}
	return b.String()
}

// roundTime leaves two figures or so.
func roundTime(d time.Duration) time.Duration {
	unit := time.Second
	for _, u := range []time.Duration{time.Minute, 10 * time.Minute, time.Hour} {
		if d > 20*u {
			unit = u
		}
	}
	return time.Duration(math.Round(float64(d)/float64(unit))) * unit
}
