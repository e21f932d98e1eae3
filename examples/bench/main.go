// Bench times the phases of making a picture: the text encoder, one guided step of the UNet, and the VAE decoder; and one
// step of training a LoRA, with and without gradient checkpointing.
//
//	go run ./examples/bench -model v1-5-pruned-emaonly.safetensors
//	go run ./examples/bench -model v1-5-pruned-emaonly.safetensors -phases train_step
//
// It prints the median of each phase, its rate in floating-point operations counted by the direct algorithms, the
// fraction that is of this machine's measured multiply-add peak (fast convolution algorithms can exceed it), and the
// memory: what was announced before packing and what the process came to occupy at most. Only what the phases need is opened. -json writes the same for
// programs. -beside 1,2 times each phase also while one and while two processes, which bench starts for that, keep a processor busy each, and tells
// how many processors these had. -scale 1,2,4,8,16,32 instead traces the tasks of each phase, cut for so many workers, on the processors there are, and replays
// them by so many. -interactive runs phases on request, one line each, for a side-by-side comparison: see peers/README.md.
package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/examples/internal/cli"
	"github.com/atelier-go/atelier/examples/internal/terminal"
)

func main() {
	cli.Main("bench", func(ctx context.Context, args []string, out, _ io.Writer) error {
		if os.Getenv(busyVariable) != "" {
			keepBusy(os.Stdin, out)
			return nil
		}
		return run(ctx, args, os.Stdin, out)
	})
}

// options are the command line.
type options struct {
	model            cli.Model
	device           cli.Device
	json, dump       string
	rounds           int
	width, height    int
	batch            int
	phases           []string
	beside, scale    []int
	interactive, ops bool
}

const usage = `bench times the phases of making a picture and of training a LoRA.

  bench -model v1-5-pruned-emaonly.safetensors
  bench -model v1-5-pruned-emaonly.safetensors -phases train_step
`

func parse(args []string, log io.Writer) (o options, err error) {
	f := cli.NewFlags("bench", usage, log)
	phases := f.String("phases", strings.Join(picturePhases, ","), "`LIST` any of these and of "+strings.Join(trainingPhases, ","))
	f.IntVar(&o.rounds, "rounds", 5, "`NUMBER` runs of each phase, after one that does not count")
	f.IntVar(&o.width, "width", 0, "`PIXELS` width of the picture (default: the model's own)")
	f.IntVar(&o.height, "height", 0, "`PIXELS` height of the picture (default: the model's own)")
	f.IntVar(&o.batch, "batch", 1, "`NUMBER` pictures in a step of training")
	beside := f.String("beside", "", "`LIST` time each phase also beside so many busy processes (1,2)")
	scales := f.String("scale", "", "`LIST` instead model the time with so many workers (1,2,4,8,16,32)")
	f.Group("What is timed", "phases", "rounds", "width", "height", "batch", "beside", "scale")
	f.BoolVar(&o.ops, "ops", false, "also print the time of each kind of op")
	f.StringVar(&o.json, "json", "", "`FILE` write the report there as well")
	f.StringVar(&o.dump, "dump", "", "`FOLDER` write the programs there, one line an op")
	f.BoolVar(&o.interactive, "interactive", false, "run phases named on standard input")
	f.Group("Reports", "ops", "json", "dump", "interactive")
	f.Model(&o.model)
	f.Weights(&o.model.Options, "vae", "text-encoder", "model-config", "variant")
	f.Group("Model", "model", "vae", "text-encoder", "model-config", "variant")
	f.Device(&o.device)
	f.Precision(&o.device)
	f.Group("Computing", "device", "threads", "precision")
	if err := f.Parse(args, 0); err != nil {
		return o, err
	}
	if o.rounds < 1 || o.rounds > 1000 {
		return o, fmt.Errorf("-rounds is %d, want 1 to 1000", o.rounds)
	}
	if o.batch < 1 || o.batch > maxBatch {
		return o, fmt.Errorf("-batch is %d, want 1 to %d", o.batch, maxBatch)
	}
	if o.beside, err = numbers("beside", *beside); err != nil {
		return o, err
	}
	if o.scale, err = numbers("scale", *scales); err != nil {
		return o, err
	}
	o.phases = strings.Split(*phases, ",")
	all := slices.Concat(picturePhases, trainingPhases)
	for i, name := range o.phases {
		if !slices.Contains(all, name) || slices.Contains(o.phases[:i], name) {
			return o, fmt.Errorf("-phases: %q: want some of %s, each once", name, strings.Join(all, ","))
		}
	}
	return o, nil
}

// writable finds out before the work whether the reports can be written.
func (o *options) writable() (err error) {
	if o.json != "" {
		err = cli.Writable("json", o.json)
	}
	if o.dump != "" {
		err = errors.Join(err, cli.Writable("dump", filepath.Join(o.dump, "unet.txt")))
	}
	return err
}

// Report is what -json writes.
type Report struct {
	Device      string        `json:"device"`
	Go          string        `json:"go"`
	Model       string        `json:"model"`
	Width       int           `json:"width"`
	Height      int           `json:"height"`
	PeakGFLOPS  float64       `json:"peak_gflops"`  // this machine's, measured, float32 multiply-adds
	OpenSeconds float64       `json:"open_seconds"` // opening the checkpoint; for pictures also packing all weights and encoding the text
	Phases      []PhaseReport `json:"phases"`
	Planned     int64         `json:"planned_bytes"` // announced before packing
	PeakRSS     int64         `json:"peak_rss_bytes"`
}

// PhaseReport is the timing of one phase.
type PhaseReport struct {
	Phase   string    `json:"phase"`
	Seconds float64   `json:"seconds"` // median
	All     []float64 `json:"all_seconds"`
	GFLOP   float64   `json:"gflop"` // by the direct algorithms
	GFLOPS  float64   `json:"gflops"`
	OfPeak  float64   `json:"of_peak"`

	Beside []BesideReport `json:"beside,omitempty"`

	*Training `json:",omitempty"` // a step of training
}

// BesideReport is the timing of a phase beside busy processes.
type BesideReport struct {
	Busy       int       `json:"busy"`    // how many
	Seconds    float64   `json:"seconds"` // median
	All        []float64 `json:"all_seconds"`
	Ratio      float64   `json:"ratio"`      // to the time without them
	Processors float64   `json:"processors"` // that they had themselves, a median of averages over each run
}

// Training is what a step of training trains, and the loss of each step since the factors began, the first of them with
// up factors of zero.
type Training struct {
	Modules    int       `json:"modules"`
	Parameters int       `json:"parameters"`
	Rank       int       `json:"rank"`
	Batch      int       `json:"batch"`
	Losses     []float64 `json:"losses"`
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) (err error) {
	defer func() { err = cli.InFlags(err, nil) }()
	o, err := parse(args, os.Stderr)
	if err != nil {
		return err
	}
	if err := o.writable(); err != nil {
		return err
	}
	if len(o.scale) > 0 {
		return scale(ctx, o, out)
	}
	dev, err := o.device.Open()
	if err != nil {
		return err
	}
	defer dev.Close()
	report := Report{Device: dev.Name(), Go: runtime.Version(), Model: "tiny-portrait"}
	if !o.model.IsTiny() {
		report.Model = filepath.Base(o.model.Path)
	}
	if peaker, ok := dev.(compute.Peaker); ok && !o.interactive {
		report.PeakGFLOPS = peaker.Peak() / 1e9
	}

	start := clock()
	w, err := open(ctx, dev, o)
	if err != nil {
		return err
	}
	defer w.close()
	report.Width, report.Height = w.width, w.height
	if err := cli.Fits(w.planned()); err != nil {
		return err
	}
	if err := w.compile(ctx); err != nil {
		return err
	}
	report.OpenSeconds = clock() - start

	if o.interactive {
		return serve(ctx, w, o, dev, in, out)
	}
	if err := measure(ctx, w, o, &report); err != nil {
		return err
	}
	report.print(out)
	if o.dump != "" {
		if err := w.dump(o.dump); err != nil {
			return err
		}
	}
	if o.ops {
		if err := printOps(ctx, w, out); err != nil {
			return err
		}
	}
	if o.json == "" {
		return nil
	}
	data, err := json.MarshalIndent(report, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(o.json, append(data, '\n'), 0o644)
}

// measure runs all phases in turn, round after round, each alone and then beside each number of busy processes.
func measure(ctx context.Context, w *workload, o options, r *Report) error {
	reports := make([]PhaseReport, len(w.phases))
	processors := make([][][]float64, len(w.phases))
	for i := range reports {
		reports[i].Beside = make([]BesideReport, len(o.beside))
		processors[i] = make([][]float64, len(o.beside))
	}
	bar := terminal.NewBar(os.Stderr, "measuring", "run")
	defer bar.Done()
	runs, all := 0, len(w.phases)*(1+o.rounds*(1+len(o.beside)))
	for round := range o.rounds + 1 {
		for i, p := range w.phases {
			did, err := p.run(ctx)
			if err != nil {
				return err
			}
			runs++
			bar.Set(runs, all)
			if round == 0 {
				continue
			}
			reports[i].All = append(reports[i].All, did.Seconds)
			for j, n := range o.beside {
				seconds, share, err := beside(ctx, p, n)
				if err != nil {
					return err
				}
				b := &reports[i].Beside[j]
				b.All, processors[i][j] = append(b.All, seconds), append(processors[i][j], share)
				runs++
				bar.Set(runs, all)
			}
		}
	}
	for i, p := range w.phases {
		report := &reports[i]
		for _, c := range p.programs() {
			report.GFLOP += float64(c.program.TotalFLOPs()) / 1e9
		}
		report.Phase, report.Seconds = p.title(), median(report.All)
		report.GFLOPS, report.OfPeak = ratio(report.GFLOP, report.Seconds), ratio(report.GFLOP, report.Seconds*r.PeakGFLOPS)
		for j, n := range o.beside {
			b := &report.Beside[j]
			b.Busy, b.Seconds, b.Processors = n, median(b.All), median(processors[i][j])
			b.Ratio = ratio(b.Seconds, report.Seconds)
		}
		if t, ok := p.(*training); ok {
			until := t.Training
			report.Training = &until
		}
	}
	r.Phases, r.Planned, r.PeakRSS = reports, w.planned(), peakRSS()
	return nil
}

// beside runs a phase once beside n busy processes.
func beside(ctx context.Context, p phase, n int) (seconds, processors float64, err error) {
	others, err := gather(n)
	if err != nil {
		return 0, 0, err
	}
	did, err := p.run(ctx)
	processors, e := others.disperse()
	return did.Seconds, processors, errors.Join(err, e)
}

// ratio is a/b, or 0 where nothing was measured to divide by: JSON has no infinity.
func ratio(a, b float64) float64 {
	if b > 0 {
		return a / b
	}
	return 0
}

func median(all []float64) float64 {
	s := slices.Sorted(slices.Values(all))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func (r *Report) print(w io.Writer) {
	fmt.Fprintf(w, "%s, %s, %d×%d, %s\n", r.Model, r.Device, r.Width, r.Height, r.Go)
	fmt.Fprintf(w, "multiply-add peak %.0f GFLOP/s; open %.2f s\n\n", r.PeakGFLOPS, r.OpenSeconds)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "phase\tmedian s\tGFLOP\tGFLOP/s\tof peak\t")
	for _, p := range r.Phases {
		fmt.Fprintf(t, "%s\t%.4f\t%.1f\t%.0f\t%.2f\t\n", p.Phase, p.Seconds, p.GFLOP, p.GFLOPS, p.OfPeak)
	}
	t.Flush()
	for _, p := range r.Phases {
		for _, b := range p.Beside {
			fmt.Fprintf(w, "\n%s beside %d busy: %.4f s, %.2f times as long as alone; they had %.2f processors", p.Phase, b.Busy, b.Seconds, b.Ratio, b.Processors)
		}
		if t := p.Training; t != nil {
			fmt.Fprintf(w, "\n%s: %.4f s a picture; %d modules of rank %d, %d parameters; loss %.6f in the first step, %.6f in the last",
				p.Phase, p.Seconds/float64(t.Batch), t.Modules, t.Rank, t.Parameters, t.Losses[0], t.Losses[len(t.Losses)-1])
		}
	}
	fmt.Fprintf(w, "\nmemory: %s planned before packing, %s resident at most\n", terminal.Bytes(r.Planned), terminal.Bytes(r.PeakRSS))
}

// printOps runs every phase once more and prints what each kind of op took.
func printOps(ctx context.Context, w *workload, out io.Writer) error {
	for _, p := range w.phases {
		type sum struct {
			kind           string
			count          int
			seconds, gflop float64
		}
		sums := make(map[string]*sum)
		for _, c := range p.programs() {
			profiler, ok := c.exe.(compute.Profiler)
			if !ok {
				return fmt.Errorf("this device does not time ops")
			}
			profiler.Profile(func(node int, seconds float64) {
				kind := describe(c.program, node)
				s := sums[kind]
				if s == nil {
					s = &sum{kind: kind}
					sums[kind] = s
				}
				s.count++
				s.seconds += seconds
				s.gflop += float64(c.program.FLOPs(node)) / 1e9
			})
			defer profiler.Profile(nil)
		}
		if _, err := p.run(ctx); err != nil {
			return err
		}
		fmt.Fprintf(out, "\n%s\n", p.title())
		t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(t, "op\tcount\tms\tGFLOP/s\t")
		var all []*sum
		for _, s := range sums {
			all = append(all, s)
		}
		slices.SortFunc(all, func(a, b *sum) int { return cmp.Compare(b.seconds, a.seconds) })
		for _, s := range all {
			fmt.Fprintf(t, "%s\t%d\t%.2f\t%.0f\t\n", s.kind, s.count, 1000*s.seconds, ratio(s.gflop, s.seconds))
		}
		t.Flush()
	}
	return nil
}

// describe names a node by its op and shape.
func describe(p *compute.Program, node int) string {
	n := p.Nodes[node]
	name := fmt.Sprintf("%s %v", compute.OpName(n.Op), p.Shape(n.Out[0]))
	switch op := n.Op.(type) {
	case compute.Linear:
		name += fmt.Sprintf(" %v", p.Shape(op.Weight)[:2])
	case compute.Conv2D:
		name += fmt.Sprintf(" %v/%d", p.Shape(op.Weight), op.Stride)
	case compute.LinearInputGradient:
		name += fmt.Sprintf(" %v", p.Shape(op.Weight)[:2])
	case compute.Conv2DInputGradient:
		name += fmt.Sprintf(" %v/%d", p.Shape(op.Weight), op.Stride)
	case compute.Attention:
		name += fmt.Sprintf(" heads %d keys %d", op.Heads, p.Shape(op.K)[1])
	case compute.AttentionGradient:
		name += fmt.Sprintf(" heads %d keys %d", op.Heads, p.Shape(op.K)[1])
	}
	return name
}

// serve runs phases on request: see peers/README.md for the protocol.
func serve(ctx context.Context, w *workload, o options, dev compute.Device, in io.Reader, out io.Writer) error {
	answer := json.NewEncoder(out)
	ready := map[string]any{"ready": true, "version": runtime.Version(), "precision": o.device.Options.Precision, "device": dev.Name()}
	if processor, ok := dev.(*cpu.Device); ok {
		ready["threads"] = processor.Workers()
	}
	for _, p := range w.phases {
		if t, ok := p.(*training); ok {
			ready["modules"], ready["parameters"], ready["batch"] = t.Modules, t.Parameters, t.Batch
		}
	}
	if err := answer.Encode(ready); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() && lines.Text() != "quit" {
		p := w.phase(lines.Text())
		if p == nil {
			if err := answer.Encode(map[string]string{"error": fmt.Sprintf("phase %q is none of -phases %s", lines.Text(), strings.Join(o.phases, ","))}); err != nil {
				return err
			}
			continue
		}
		did, err := p.run(ctx)
		if err != nil {
			return errors.Join(err, answer.Encode(map[string]string{"error": err.Error()}))
		}
		if err := answer.Encode(did); err != nil {
			return err
		}
	}
	return lines.Err()
}
