package cuda

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/kernel"
	"github.com/atelier-go/atelier/cuda/internal/simdriver"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/sd"
)

var update = flag.Bool("update", false, "write the tables of docs/kernels.md anew")

var h100 = roof{"H100 SXM", 132, 613, 66.9, 989, 3350}

var roofs = []struct {
	roof
	libraries bool // cuBLASLt and cuDNN are there
}{
	{roof{"RTX 3060", 28, 25.5, 12.7, 25.5, 360}, false}, {roof{"RTX 4060", 24, 30.2, 15.1, 30.2, 272}, false},
	{roof{"RTX 4090", 128, 165, 82.6, 165, 1008}, false}, {h100, false}, {h100, true},
}

// cost is what a kind of kernel does in a program.
type cost struct {
	launches     int
	flops, bytes float64
	seconds      []float64 // by card
}

// TestRoofline predicts how long a CFG step and a LoRA step take on cards, by their arithmetic and the memory that they move, before any has
// run. The tables are those of docs/kernels.md.
func TestRoofline(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: plans of full size take five seconds")
	}
	ckpt := sparse(t)
	dev := opener(Options{Precision: compute.PrecisionFP16}, simdriver.Options{})(t).(*Device)
	listening := &listener{Device: dev}
	pipeline, err := sd.New(t.Context(), ckpt, listening, sd.Options{})
	check(t, err)
	defer pipeline.Close()
	var text strings.Builder
	for _, side := range []int{512, 1024} {
		listening.heaviest = nil
		_, err = pipeline.Memory(sd.Request{Prompt: "x", Width: side, Height: side, Steps: 20})
		check(t, err)
		table(t, &text, fmt.Sprintf("A step of one picture of %d×%d with guidance", side, side), listening.heaviest, listening.source)
	}
	listening.heaviest = nil
	stepMemory(t, listening, ckpt, Need{Side: 512, Batch: 2, Training: true, Checkpointing: true})
	table(t, &text, "A LoRA step of two pictures of 512×512, rank 32, gradient checkpointing", listening.heaviest, listening.source)

	golden.Section(t, "docs/kernels.md", "tables", text.String(), *update)
}

// listener keeps the program with the most arithmetic that it is asked about, but for those of the autoencoder.
type listener struct {
	*Device
	heaviest *compute.Program
	source   compute.ParamSource
}

// Estimate implements compute.Estimator.
func (l *listener) Estimate(source compute.ParamSource, programs ...*compute.Program) (compute.MemoryReport, error) {
	for _, p := range programs {
		drawn := slices.ContainsFunc(p.Inputs, func(v compute.Value) bool {
			name := p.Values[v.Index()].Name
			return name == "timestep" || name == "timesteps"
		})
		if drawn && (l.heaviest == nil || p.TotalFLOPs() > l.heaviest.TotalFLOPs()) {
			l.heaviest, l.source = p, source
		}
	}
	return l.Device.Estimate(source, programs...)
}

// table writes what each kind of kernel costs in a program.
func table(t *testing.T, b *strings.Builder, title string, program *compute.Program, source compute.ParamSource) {
	t.Helper()
	if program == nil {
		t.Fatal("no program of the UNet was planned")
	}
	costs, total := make(map[int]*cost), cost{seconds: make([]float64, len(roofs))}
	for card := range roofs {
		count(t, costs, card, program, source)
	}
	fmt.Fprintf(b, "\n### %s\n\n| kernels | launches | TFLOP | GB |", title)
	for _, r := range roofs {
		if fmt.Fprintf(b, " %s", r.name); r.libraries {
			b.WriteString(", libraries")
		}
		b.WriteString(" |")
	}
	fmt.Fprintf(b, "\n|---|---|---|---|%s\n", strings.Repeat("---|", len(roofs)))
	row := func(name string, c *cost) {
		fmt.Fprintf(b, "| %s | %d | %.3f | %.2f |", name, c.launches, c.flops/1e12, c.bytes/1e9)
		for _, s := range c.seconds {
			fmt.Fprintf(b, " %.1f ms |", s*1e3)
		}
		b.WriteString("\n")
	}
	for _, i := range slices.SortedFunc(maps.Keys(costs), func(i, j int) int { return cmp.Compare(costs[j].seconds[0], costs[i].seconds[0]) }) {
		c := costs[i]
		row(kinds[i].title, c)
		total.launches, total.flops, total.bytes = total.launches+c.launches, total.flops+c.flops, total.bytes+c.bytes
		for i, s := range c.seconds {
			total.seconds[i] += s
		}
	}
	row("**all**", &total)
}

// count adds what a program costs on a card to the kinds of its kernels. A node counts for the first of its kernels that is of a kind.
func count(t *testing.T, costs map[int]*cost, card int, program *compute.Program, source compute.ParamSource) {
	t.Helper()
	r := roofs[card]
	d := &Device{options: Options{Precision: compute.PrecisionFP16}, kernels: kernel.New(kernel.Card{Half: true, Multiprocessors: r.multiprocessors})}
	l, err := d.lower(program, source, false)
	check(t, err)
	for i, work := range l.work {
		if len(work.Launches) == 0 {
			continue
		}
		of, _ := kindOf(work)
		if costs[of] == nil {
			costs[of] = &cost{seconds: make([]float64, len(roofs))}
		}
		c := costs[of]
		seconds := r.seconds(l.program, i, work, work)
		if r.libraries {
			for _, way := range d.kernels.Libraries(l.program, program.Nodes[i]) {
				seconds = min(seconds, r.seconds(l.program, i, way.Work, work))
			}
		}
		c.seconds[card] += seconds
		if card == 0 {
			c.launches, c.flops, c.bytes = c.launches+len(work.Launches), c.flops+float64(program.FLOPs(i)), c.bytes+moved(l.program, work)
		}
	}
}
