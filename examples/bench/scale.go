package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/examples/internal/cli"
	"github.com/atelier-go/atelier/examples/internal/terminal"
)

// scaling is one phase of the work cut for some workers.
type scaling struct {
	workers int
	trace   []cpu.Task
	program *compute.Program
}

// scale cuts the phases for each number of workers, traces them on the processors there are, and replays the traces by so many workers.
func scale(ctx context.Context, o options, out io.Writer) error {
	all := make([][]scaling, len(o.phases))
	bar := terminal.NewBar(os.Stderr, "tracing", "run")
	defer bar.Done()
	for i, n := range o.scale {
		traced, err := traceWith(ctx, o, n)
		if err != nil {
			return err
		}
		for k, s := range traced {
			all[k] = append(all[k], s)
		}
		bar.Set(i+1, len(o.scale))
	}
	for k, name := range o.phases {
		fmt.Fprintf(out, "\n%s\n", name)
		printScale(out, all[k])
		if o.ops {
			printLosses(out, all[k][len(all[k])-1])
		}
	}
	return nil
}

// traceWith traces every phase with n workers: of as many rounds as asked for, after one that does not count, that with the median time.
func traceWith(ctx context.Context, o options, n int) (all []scaling, err error) {
	o.device.Options.Workers = n
	dev, err := o.device.Open()
	if err != nil {
		return nil, err
	}
	defer dev.Close()
	w, err := open(ctx, dev, o)
	if err != nil {
		return nil, err
	}
	defer w.close()
	if err := cli.Fits(w.planned()); err != nil {
		return nil, err
	}
	if err := w.compile(ctx); err != nil {
		return nil, err
	}
	for _, p := range w.phases {
		pass, ok := p.(*pass)
		if !ok {
			return nil, fmt.Errorf("-scale: %s is no phase of a picture", p.title())
		}
		var traces [][]cpu.Task
		for round := range o.rounds + 1 {
			t, err := cpu.Trace(ctx, pass.exe, pass.out, pass.in)
			if err != nil {
				return nil, errors.New("-scale: only programs of the CPU are traced")
			}
			if round > 0 {
				traces = append(traces, t)
			}
		}
		slices.SortFunc(traces, func(a, b []cpu.Task) int { return cmp.Compare(last(a), last(b)) })
		all = append(all, scaling{n, traces[len(traces)/2], pass.program})
	}
	return all, nil
}

// last is when the last task of a trace was done.
func last(trace []cpu.Task) (end time.Duration) {
	for _, t := range trace {
		end = max(end, t.End)
	}
	return end
}

// traffic is the bytes of the operands and results of all ops of a program, each counted wherever it is used.
func traffic(p *compute.Program) (sum int) {
	for _, n := range p.Nodes {
		if _, ok := n.Op.(compute.Viewer); ok {
			continue
		}
		for _, v := range slices.Concat(n.Op.Operands(), n.Out) {
			sum += p.Type(v).Bytes()
		}
	}
	return sum
}

// printScale prints what was measured where there are so many processors, and what is replayed: the time, what is lost to what, what memory would have to
// give for it, and the efficiency of a crew of which half are less fast.
func printScale(out io.Writer, all []scaling) {
	const slower = 0.6
	var barrier time.Duration // as measured with the most workers for which there are processors
	for _, s := range all {
		if s.workers <= runtime.GOMAXPROCS(0) && s.workers > 1 {
			barrier = cpu.Barrier(s.trace)
		}
	}
	one := 0.0
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "workers\ttasks\tmeasured s\treplayed s\ttimes as fast\tfew tasks\tuneven ends\tbarriers\tGB/s\thalf at %v\t\n", slower)
	for _, s := range all {
		r := cpu.Replay(s.trace, cpu.Alike(s.workers, barrier))
		total := r.Total.Seconds()
		if one == 0 {
			one = total * float64(s.workers)
		}
		measured := "-"
		if s.workers <= runtime.GOMAXPROCS(0) {
			measured = fmt.Sprintf("%.3f", last(s.trace).Seconds())
		}
		hybrid := cpu.Alike(s.workers, barrier)
		speed := 0.0
		for i := range hybrid.Speeds {
			if i%2 == 1 {
				hybrid.Speeds[i] = slower
			}
			speed += hybrid.Speeds[i]
		}
		part := func(d time.Duration) string { return fmt.Sprintf("%.1f %%", 100*ratio(d.Seconds(), total)) }
		fmt.Fprintf(t, "%d\t%d\t%s\t%.3f\t%.2f\t%s\t%s\t%s\t%.0f\t%.2f\t\n", s.workers, len(s.trace), measured, total, ratio(one, total),
			part(r.Few), part(r.Uneven), part(r.Barriers), ratio(float64(traffic(s.program))/1e9, total),
			ratio(total*float64(s.workers), cpu.Replay(s.trace, hybrid).Total.Seconds()*speed))
	}
	t.Flush()
}

// printLosses prints by kind of op what its tasks take together, and for how long its phases keep workers waiting for their last tasks.
func printLosses(out io.Writer, s scaling) {
	type sum struct {
		kind       string
		phases     int
		work, lost time.Duration
	}
	sums := make(map[string]*sum)
	for trace := s.trace; len(trace) > 0; {
		n := slices.IndexFunc(trace, func(t cpu.Task) bool { return t.Phase != trace[0].Phase })
		if n < 0 {
			n = len(trace)
		}
		kind := describe(s.program, trace[0].Node)
		if sums[kind] == nil {
			sums[kind] = &sum{kind: kind}
		}
		all, r := sums[kind], cpu.Replay(trace[:n], cpu.Alike(s.workers, 0))
		all.phases, all.lost = all.phases+1, all.lost+r.Few+r.Uneven
		for _, t := range trace[:n] {
			all.work += t.End - t.Begin
		}
		trace = trace[n:]
	}
	fmt.Fprintf(out, "\nwith %d workers\n", s.workers)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "op\tphases\tms each worker\tms waiting\t")
	for _, all := range slices.SortedFunc(maps.Values(sums), func(a, b *sum) int { return cmp.Compare(b.lost, a.lost) }) {
		fmt.Fprintf(t, "%s\t%d\t%.2f\t%.2f\t\n", all.kind, all.phases, 1000*all.work.Seconds()/float64(s.workers), 1000*all.lost.Seconds())
	}
	t.Flush()
}
