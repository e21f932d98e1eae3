package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/examples/internal/program"
)

// phases are those of a picture, in their order.
var phases = []string{"text_encoder", "context", "unet_step", "vae_decode"}

// TestMain is also the program that bench starts to keep the machine busy.
func TestMain(m *testing.M) {
	if os.Getenv(busyVariable) != "" {
		keepBusy(os.Stdin, os.Stdout)
		return
	}
	os.Exit(m.Run())
}

// TestBeside times a phase beside one and beside two busy processes, which are gone afterwards.
func TestBeside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.json")
	var out bytes.Buffer
	args := []string{"-phases", "vae_decode", "-rounds", "2", "-width", "256", "-height", "256", "-json", path, "-beside", "1,2"}
	if err := run(t.Context(), args, strings.NewReader(""), &out); err != nil {
		t.Fatal(err)
	}
	p := readReport(t, path).Phases[0]
	if len(p.Beside) != 2 || len(p.All) != 2 {
		t.Fatalf("timed %d times alone, and beside %d crowds; want 2 and 2", len(p.All), len(p.Beside))
	}
	for i, b := range p.Beside {
		if b.Busy != i+1 || len(b.All) != 2 || !(b.Seconds > 0) || b.Ratio != b.Seconds/p.Seconds {
			t.Errorf("beside %d: %+v, alone %v s", i+1, b, p.Seconds)
		}
		if runtime.GOOS == "windows" {
			t.Logf("%d busy processes had %v processors, not looked at: Wine takes longer to start them than the phase takes", b.Busy, b.Processors)
		} else if !(b.Processors > 0.02) || b.Processors > float64(b.Busy)+0.2 {
			t.Errorf("%d busy processes had %v processors", b.Busy, b.Processors)
		}
		if say := fmt.Sprintf("vae_decode beside %d busy", b.Busy); !strings.Contains(out.String(), say) {
			t.Errorf("no %q in\n%s", say, out.String())
		}
	}
}

// TestScale replays a phase by more workers than there are processors.
func TestScale(t *testing.T) {
	var out bytes.Buffer
	args := []string{"-phases", "unet_step,vae_decode", "-rounds", "1", "-width", "64", "-height", "64", "-ops", "-scale", "1,2,64"}
	if err := run(t.Context(), args, strings.NewReader(""), &out); err != nil {
		t.Fatal(err)
	}
	for _, phase := range []string{"unet_step", "vae_decode"} {
		_, table, found := strings.Cut(out.String(), "\n"+phase+"\n")
		rows := strings.Split(table, "\n")
		if !found || len(rows) < 4 {
			t.Fatalf("no table of %s in\n%s", phase, out.String())
		}
		for i, want := range []string{"1", "2", "64"} {
			fields := strings.Fields(rows[i+1])
			if len(fields) != 13 || fields[0] != want || (fields[2] == "-") != (want == "64" && runtime.GOMAXPROCS(0) < 64 || want == "2" && runtime.GOMAXPROCS(0) < 2) {
				t.Errorf("%s: row %q for %s workers", phase, rows[i+1], want)
			}
		}
		if !strings.Contains(table, "with 64 workers") || !strings.Contains(table, "GroupNorm") {
			t.Errorf("%s: no ops in\n%s", phase, table)
		}
	}
	if err := run(t.Context(), []string{"-phases", "train_step", "-scale", "2"}, strings.NewReader(""), io.Discard); err == nil || !strings.Contains(err.Error(), "train_step") {
		t.Errorf("a model of training: %v", err)
	}
}

func TestReport(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "report.json")
	var out bytes.Buffer
	args := []string{"-rounds", "1", "-width", "64", "-height", "96", "-json", path, "-dump", dir, "-ops"}
	if err := run(t.Context(), args, strings.NewReader(""), &out); err != nil {
		t.Fatal(err)
	}
	r := readReport(t, path)
	if r.Model != "tiny-portrait" || r.Width != 64 || r.Height != 96 || r.Go != runtime.Version() || !strings.Contains(r.Device, "cpu") {
		t.Errorf("the report is of %q on %q (%s), %d×%d", r.Model, r.Device, r.Go, r.Width, r.Height)
	}
	if r.PeakGFLOPS <= 0 || r.OpenSeconds <= 0 || r.Planned <= 0 {
		t.Errorf("peak %v GFLOP/s, opened in %v s, %d bytes planned: want all positive", r.PeakGFLOPS, r.OpenSeconds, r.Planned)
	}
	if runtime.GOOS == "linux" && r.PeakRSS < r.Planned {
		t.Errorf("%d bytes were resident at most, %d planned", r.PeakRSS, r.Planned)
	}
	if len(r.Phases) != len(phases) {
		t.Fatalf("%d phases, want %v", len(r.Phases), phases)
	}
	for i, p := range r.Phases {
		if p.Phase != phases[i] || len(p.All) != 1 || p.Seconds != p.All[0] || p.Seconds <= 0 {
			t.Errorf("phase %d is %q in %v s, of %v; want %q and one positive time", i, p.Phase, p.Seconds, p.All, phases[i])
		}
		if rate := p.GFLOP / p.Seconds; p.GFLOP <= 0 || math.Abs(p.GFLOPS/rate-1) > 1e-9 || math.Abs(p.OfPeak*r.PeakGFLOPS/rate-1) > 1e-9 {
			t.Errorf("%s: %v GFLOP, %v GFLOP/s, %v of the peak do not agree", p.Phase, p.GFLOP, p.GFLOPS, p.OfPeak)
		}
		if !strings.Contains(out.String(), p.Phase) {
			t.Errorf("no %s in\n%s", p.Phase, out.String())
		}
		if dump, err := os.ReadFile(filepath.Join(dir, p.Phase+".txt")); err != nil || len(dump) == 0 {
			t.Errorf("%s is dumped as %d bytes, %v", p.Phase, len(dump), err)
		}
	}
	for _, say := range []string{"of peak", "planned before packing", "Conv2D", "Attention"} {
		if !strings.Contains(out.String(), say) {
			t.Errorf("no %q in\n%s", say, out.String())
		}
	}
}

// readReport reads what -json wrote.
func readReport(t *testing.T, path string) (r Report) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatalf("%v in\n%s", err, data)
	}
	return r
}

// losses are those of training the tiny model at 64×64 as PyTorch 2.15, diffusers 0.42 and PEFT 0.21 compute them in
// float32: torch_training of peers/peers.py on tinyportrait/model with LATENT = 8, for batches of one and of two.
var losses = map[int][]float64{
	1: {0.3764169216156006, 0.37242984771728516, 0.36844727396965027, 0.3644796311855316},
	2: {0.38637322187423706, 0.3831169903278351, 0.38013607263565063, 0.3773890733718872},
}

// TestTraining trains with and without gradient checkpointing, and opens nothing else.
func TestTraining(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: trains both networks")
	}
	for batch, want := range losses {
		dir := t.TempDir()
		path := filepath.Join(dir, "report.json")
		var out bytes.Buffer
		names := []string{"train_step", "train_step_checkpointed"}
		args := []string{"-phases", strings.Join(names, ","), "-batch", fmt.Sprint(batch), "-width", "64", "-height", "64", "-rounds", fmt.Sprint(len(want) - 1), "-json", path, "-dump", dir, "-ops"}
		if err := run(t.Context(), args, strings.NewReader(""), &out); err != nil {
			t.Fatal(err)
		}
		r := readReport(t, path)
		if len(r.Phases) != len(names) {
			t.Fatalf("%d phases, want %v", len(r.Phases), names)
		}
		for i, p := range r.Phases {
			if p.Phase != names[i] || p.Training == nil || len(p.Losses) != len(want) || !(p.Seconds > 0) || !(p.GFLOP > 0) {
				t.Fatalf("phase %d is %+v, want %s with %d losses", i, p, names[i], len(want))
			}
			// 6 in each of 4 layers of the text encoder, 12 in each of the UNet's 10 transformers
			if p.Modules != 4*6+10*12 || p.Parameters != 577536 || p.Rank != 16 || p.Batch != batch {
				t.Errorf("%s trains %+v, want 144 modules of rank 16 with 577536 parameters, batch %d", p.Phase, *p.Training, batch)
			}
			for step, loss := range p.Losses {
				if difference := math.Abs(loss/want[step] - 1); !(difference < 1e-5) {
					t.Errorf("%s, batch %d: the loss of step %d is %v, want %v, a relative difference of %.1e", p.Phase, batch, step+1, loss, want[step], difference)
				}
			}
			for _, say := range []string{p.Phase, fmt.Sprintf("%.6f in the first step", p.Losses[0]), "144 modules of rank 16, 577536 parameters", "AdamW", "LinearInputGradient", "AttentionGradient"} {
				if !strings.Contains(out.String(), say) {
					t.Errorf("no %q in\n%s", say, out.String())
				}
			}
			for _, program := range []string{p.Phase, p.Phase + ".update"} {
				if dump, err := os.ReadFile(filepath.Join(dir, program+".txt")); err != nil || len(dump) == 0 {
					t.Errorf("%s is dumped as %d bytes, %v", program, len(dump), err)
				}
			}
		}
		if plain, checkpointed := r.Phases[0].GFLOP, r.Phases[1].GFLOP; !(checkpointed > plain) {
			t.Errorf("%v GFLOP with checkpointing, %v without", checkpointed, plain)
		}
		if r.Planned <= 0 || runtime.GOOS == "linux" && r.PeakRSS < r.Planned {
			t.Errorf("%d bytes were resident at most, %d planned", r.PeakRSS, r.Planned)
		}
		if strings.Contains(out.String(), "unet_step") {
			t.Errorf("a picture was made as well:\n%s", out.String())
		}
	}
}

// TestPhases runs some of the phases.
func TestPhases(t *testing.T) {
	var out bytes.Buffer
	args := []string{"-phases", "unet_step,train_step", "-width", "64", "-height", "64", "-rounds", "1"}
	if err := run(t.Context(), args, strings.NewReader(""), &out); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"unet_step": true, "train_step": true, "text_encoder": false, "context": false, "vae_decode": false} {
		if got := strings.Contains(out.String(), name); got != want {
			t.Errorf("%s is reported: %v, want %v, in\n%s", name, got, want, out.String())
		}
	}
}

// conversation is a program that runs phases on request.
type conversation struct {
	t      *testing.T
	to     *io.PipeWriter
	lines  *bufio.Scanner
	result chan error
}

func converse(t *testing.T, args ...string) *conversation {
	in, to := io.Pipe()
	from, out := io.Pipe()
	c := &conversation{t, to, bufio.NewScanner(from), make(chan error, 1)}
	go func() {
		err := run(t.Context(), append([]string{"-interactive", "-width", "64", "-height", "64"}, args...), in, out)
		out.Close()
		c.result <- err
	}()
	t.Cleanup(func() { to.Close() })
	return c
}

// answer reads a line, which must be one JSON object.
func (c *conversation) answer() (object map[string]any) {
	c.t.Helper()
	if !c.lines.Scan() {
		c.t.Fatalf("no answer; the program ended with %v", <-c.result)
	}
	if err := json.Unmarshal(c.lines.Bytes(), &object); err != nil {
		c.t.Fatalf("%v in %q", err, c.lines.Text())
	}
	return object
}

// end waits for the program to end in silence.
func (c *conversation) end() {
	c.t.Helper()
	if c.lines.Scan() {
		c.t.Errorf("another line: %q", c.lines.Text())
	}
	if err := <-c.result; err != nil {
		c.t.Errorf("the program ended with %v", err)
	}
}

// TestProtocol speaks the protocol of peers/README.md.
func TestProtocol(t *testing.T) {
	c := converse(t, "-threads", "2", "-precision", "bf16")
	ready := c.answer()
	if ready["ready"] != true || ready["precision"] != "bf16" || ready["threads"] != 2.0 || ready["version"] != runtime.Version() {
		t.Errorf("the first line is %v", ready)
	}
	rms := map[string]any{}
	for range 2 {
		for _, phase := range []string{"text_encoder", "unet_step", "vae_decode"} {
			fmt.Fprintln(c.to, phase)
			got := c.answer()
			seconds, _ := got["seconds"].(float64)
			size, _ := got["rms"].(float64)
			if got["phase"] != phase || !(seconds > 0) || !(size > 0) || len(got) != 3 {
				t.Errorf("%s: the answer is %v", phase, got)
			}
			if before, ok := rms[phase]; ok && before != size {
				t.Errorf("%s: the rms is %v, and was %v before", phase, size, before)
			}
			rms[phase] = size
		}
	}
	fmt.Fprintln(c.to, "paint")
	if got := c.answer(); len(got) != 1 || !strings.Contains(fmt.Sprint(got["error"]), `"paint"`) {
		t.Errorf("an unknown phase is answered by %v", got)
	}
	fmt.Fprintln(c.to, "quit")
	c.end()
}

// TestTrainingProtocol speaks the protocol of peers/README.md to a program that trains.
func TestTrainingProtocol(t *testing.T) {
	c := converse(t, "-phases", "train_step_checkpointed", "-batch", "2")
	if ready := c.answer(); ready["ready"] != true || ready["modules"] != 144.0 || ready["parameters"] != 577536.0 || ready["batch"] != 2.0 {
		t.Errorf("the first line is %v", ready)
	}
	before := math.Inf(1)
	for range 2 {
		fmt.Fprintln(c.to, "train_step_checkpointed")
		got := c.answer()
		seconds, _ := got["seconds"].(float64)
		loss, _ := got["loss"].(float64)
		if got["phase"] != "train_step_checkpointed" || !(seconds > 0) || !(loss > 0 && loss < before) || len(got) != 3 {
			t.Errorf("the answer is %v, after a loss of %v", got, before)
		}
		before = loss
	}
	fmt.Fprintln(c.to, "unet_step")
	if got := c.answer(); len(got) != 1 || !strings.Contains(fmt.Sprint(got["error"]), `"unet_step"`) {
		t.Errorf("a phase that was not asked for is answered by %v", got)
	}
	fmt.Fprintln(c.to, "quit")
	c.end()
}

func TestRatio(t *testing.T) {
	for _, c := range []struct{ a, b, want float64 }{{6, 2, 3}, {6, 0, 0}, {0, 0, 0}} {
		if got := ratio(c.a, c.b); got != c.want {
			t.Errorf("%v/%v is %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

// TestEndOfInput means the same as quit.
func TestEndOfInput(t *testing.T) {
	c := converse(t)
	if ready := c.answer(); ready["precision"] != "fp32" || !(ready["threads"].(float64) >= 1) {
		t.Errorf("the first line is %v", ready)
	}
	c.to.Close()
	c.end()
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		all  []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{5, 1, 2}, 2}, {[]float64{4, 1, 9, 2}, 3}} {
		if got := median(c.all); got != c.want {
			t.Errorf("the median of %v is %v, want %v", c.all, got, c.want)
		}
	}
}

func TestBadCommandLines(t *testing.T) {
	for _, c := range []struct {
		args string
		says []string
	}{
		{"-precision fp8", []string{"-precision", `"fp8"`, "fp32, bf16 or fp16"}},
		{"-rounds 0", []string{"-rounds is 0", "1 to 1000"}},
		{"-batch 0", []string{"-batch is 0", "1 to 64"}},
		{"-batch 65", []string{"-batch is 65", "1 to 64"}},
		{"-phases unet_step,paint", []string{"-phases", `"paint"`, "vae_decode,train_step"}},
		{"-phases unet_step,unet_step", []string{"-phases", `"unet_step"`, "once"}},
		{"-beside 0", []string{"-beside", `"0"`, "1 to 1024"}},
		{"-beside 1,x", []string{"-beside", `"1,x"`}},
		{"-scale 2,0", []string{"-scale", `"2,0"`, "1 to 1024"}},
		{"-width 7", []string{"-width 7", "multiples of 8"}},
		{"-height 100000", []string{"-height 100000", "to 4096"}},
		{"-device abacus", []string{`"abacus"`, "auto and cpu, and cuda"}},
		{"-interactive -model nothing.safetensors", []string{"nothing.safetensors"}},
		{"-colour red", []string{"-colour"}},
	} {
		t.Run(c.args, func(t *testing.T) {
			err := run(t.Context(), strings.Fields(c.args), strings.NewReader(""), io.Discard)
			if err == nil {
				t.Fatal("no error")
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("the error does not say %q: %v", s, err)
				}
			}
		})
	}
}

func TestHelp(t *testing.T) {
	var help strings.Builder
	if _, err := parse([]string{"-h"}, &help); !errors.Is(err, flag.ErrHelp) {
		t.Error(err)
	}
	program.Help(t, "bench", help.String())
}

// TestOutputs wants reports that cannot be written told before the work.
func TestOutputs(t *testing.T) {
	for _, name := range []string{"json", "dump"} {
		var out strings.Builder
		err := run(t.Context(), []string{"-" + name, filepath.Join(t.TempDir(), "nowhere", "x")}, strings.NewReader(""), &out)
		if err == nil || !strings.Contains(err.Error(), "-"+name) || out.Len() > 0 {
			t.Errorf("%s: %v, after %q", name, err, out.String())
		}
	}
}
