// Bench times the phases of making a picture: the text encoder, one guided step of the UNet, and the VAE decoder.
//
//	go run ./examples/bench -model v1-5-pruned-emaonly.safetensors
//
// It prints the median of each phase, its rate in floating-point operations counted by the direct algorithms, the
// fraction that is of this machine's measured multiply-add peak (fast convolution algorithms can exceed it), and the
// memory: what was announced before loading and what the process came to occupy at most. -json writes the same for
// programs. -interactive runs phases on request, one line each, for a side-by-side comparison: see peers/README.md.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/device"
	"github.com/atelier-go/atelier/examples/internal/terminal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	model, device, precision, json, dump string
	threads, rounds, width, height       int
	interactive, ops                     bool
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&o.model, "model", "", "checkpoint: a .safetensors file or a diffusers folder (default: the built-in tiny portrait model)")
	f.StringVar(&o.device, "device", "auto", "auto or cpu")
	f.IntVar(&o.threads, "threads", 0, "processors to use (default: all)")
	f.StringVar(&o.precision, "precision", "fp32", "of matrix products: fp32 or bf16")
	f.IntVar(&o.rounds, "rounds", 5, "times each phase is run, after one that does not count")
	f.IntVar(&o.width, "width", 0, "pixels (default: the model's own)")
	f.IntVar(&o.height, "height", 0, "pixels (default: the model's own)")
	f.StringVar(&o.json, "json", "", "also write the report to this file")
	f.StringVar(&o.dump, "dump", "", "write the programs, one line an op, to files in this folder")
	f.BoolVar(&o.ops, "ops", false, "also print the time of each kind of op")
	f.BoolVar(&o.interactive, "interactive", false, "run phases named on standard input")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.precision != "fp32" && o.precision != "bf16" {
		return o, fmt.Errorf("-precision is %q, want fp32 or bf16", o.precision)
	}
	if o.rounds < 1 || o.rounds > 1000 {
		return o, fmt.Errorf("-rounds is %d, want 1 to 1000", o.rounds)
	}
	return o, nil
}

// Report is what -json writes.
type Report struct {
	Device      string        `json:"device"`
	Go          string        `json:"go"`
	Model       string        `json:"model"`
	Width       int           `json:"width"`
	Height      int           `json:"height"`
	PeakGFLOPS  float64       `json:"peak_gflops"`  // of this machine, measured, float32 multiply-adds
	OpenSeconds float64       `json:"open_seconds"` // opening the checkpoint, packing all weights and encoding the text
	Phases      []PhaseReport `json:"phases"`
	Planned     int64         `json:"planned_bytes"` // announced before loading
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
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	opts := device.Options{Workers: o.threads}
	if o.precision == "bf16" {
		opts.Precision = cpu.BF16
	}
	dev, err := device.Open(o.device, opts)
	if err != nil {
		return err
	}
	defer dev.Close()
	report := Report{Device: dev.Name(), Go: runtime.Version(), Model: "tiny-portrait"}
	if o.model != "" {
		report.Model = filepath.Base(o.model)
	}
	if peaker, ok := dev.(interface{ Peak() float64 }); ok && !o.interactive {
		report.PeakGFLOPS = peaker.Peak() / 1e9
	}

	start := time.Now()
	w, err := open(dev, o)
	if err != nil {
		return err
	}
	defer w.close()
	report.Width, report.Height, report.Planned = w.width, w.height, w.planned.Total()
	if o.dump != "" {
		if err := w.dump(o.dump); err != nil {
			return err
		}
	}
	if err := w.compile(); err != nil {
		return err
	}
	for _, p := range w.phases[:2] { // they make the inputs of the step
		if _, _, err := p.run(ctx); err != nil {
			return err
		}
	}
	report.OpenSeconds = time.Since(start).Seconds()

	if o.interactive {
		return serve(ctx, w, o, dev, in, out)
	}
	if err := measure(ctx, w, o.rounds, &report); err != nil {
		return err
	}
	report.print(out)
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

// measure runs all phases in turn, round after round.
func measure(ctx context.Context, w *workload, rounds int, r *Report) error {
	times := make(map[string][]float64)
	bar := terminal.NewBar(os.Stderr, "measuring", "run")
	defer bar.Done()
	for round := range rounds + 1 {
		for i, p := range w.phases {
			seconds, _, err := p.run(ctx)
			if err != nil {
				return err
			}
			if round > 0 {
				times[p.name] = append(times[p.name], seconds)
			}
			bar.Set(float64(round*len(w.phases)+i+1), float64((rounds+1)*len(w.phases)))
		}
	}
	for _, p := range w.phases {
		all := times[p.name]
		m := median(all)
		gflop := float64(p.program.TotalFLOPs()) / 1e9
		r.Phases = append(r.Phases, PhaseReport{p.name, m, all, gflop, gflop / m, gflop / m / r.PeakGFLOPS})
	}
	r.PeakRSS = peakRSS()
	return nil
}

func median(all []float64) float64 {
	s := slices.Sorted(slices.Values(all))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func (r *Report) print(w io.Writer) {
	fmt.Fprintf(w, "%s, %s, %d×%d, %s\n", r.Model, r.Device, r.Width, r.Height, r.Go)
	fmt.Fprintf(w, "multiply-add peak %.0f GFLOP/s; open and pack %.2f s\n\n", r.PeakGFLOPS, r.OpenSeconds)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "phase\tmedian s\tGFLOP\tGFLOP/s\tof peak\t")
	for _, p := range r.Phases {
		fmt.Fprintf(t, "%s\t%.4f\t%.1f\t%.0f\t%.2f\t\n", p.Phase, p.Seconds, p.GFLOP, p.GFLOPS, p.OfPeak)
	}
	t.Flush()
	fmt.Fprintf(w, "\nmemory: %s planned before loading, %s resident at most\n", terminal.Bytes(r.Planned), terminal.Bytes(r.PeakRSS))
}

// printOps runs every phase once more and prints what each kind of op took.
func printOps(ctx context.Context, w *workload, out io.Writer) error {
	for _, p := range w.phases {
		profiler, ok := p.exe.(compute.Profiler)
		if !ok {
			return fmt.Errorf("this device does not time ops")
		}
		type sum struct {
			kind           string
			count          int
			seconds, gflop float64
		}
		sums := make(map[string]*sum)
		profiler.Profile(func(node int, seconds float64) {
			kind := describe(p.program, node)
			s := sums[kind]
			if s == nil {
				s = &sum{kind: kind}
				sums[kind] = s
			}
			s.count++
			s.seconds += seconds
			s.gflop += float64(p.program.FLOPs(node)) / 1e9
		})
		_, _, err := p.run(ctx)
		profiler.Profile(nil)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "\n%s\n", p.name)
		t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(t, "op\tcount\tms\tGFLOP/s\t")
		var all []*sum
		for _, s := range sums {
			all = append(all, s)
		}
		slices.SortFunc(all, func(a, b *sum) int {
			if a.seconds > b.seconds {
				return -1
			}
			return 1
		})
		for _, s := range all {
			fmt.Fprintf(t, "%s\t%d\t%.2f\t%.0f\t\n", s.kind, s.count, 1000*s.seconds, s.gflop/s.seconds)
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
	case compute.Attention:
		name += fmt.Sprintf(" heads %d keys %d", op.Heads, p.Shape(op.K)[1])
	}
	return name
}

// serve runs phases on request: see peers/README.md for the protocol.
func serve(ctx context.Context, w *workload, o options, dev compute.Device, in io.Reader, out io.Writer) error {
	answer := json.NewEncoder(out)
	ready := map[string]any{"ready": true, "version": runtime.Version(), "precision": o.precision, "threads": max(o.threads, 0), "device": dev.Name()}
	if o.threads == 0 {
		ready["threads"] = runtime.GOMAXPROCS(0)
	}
	if err := answer.Encode(ready); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() && lines.Text() != "quit" {
		p := w.phase(lines.Text())
		if p == nil {
			if err := answer.Encode(map[string]string{"error": fmt.Sprintf("unknown phase %q", lines.Text())}); err != nil {
				return err
			}
			continue
		}
		seconds, rms, err := p.run(ctx)
		if err != nil {
			return errors.Join(err, answer.Encode(map[string]string{"error": err.Error()}))
		}
		if err := answer.Encode(map[string]any{"phase": p.name, "seconds": seconds, "rms": rms}); err != nil {
			return err
		}
	}
	return lines.Err()
}
