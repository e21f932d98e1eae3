package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atelier-go/atelier/device"
	"github.com/atelier-go/atelier/examples/internal/cli"
)

const repository = "../../.."

var card = machine{Card: "NVIDIA GeForce RTX 4090", Capability: "8.9", Memory: 24e9, Driver: "CUDA 12.4 (libcuda.so.1)", SelfTest: "passed"}

// start is an hour in a folder, as a new process has it.
func start(t *testing.T, folder string, redo ...string) *hour {
	t.Helper()
	h := &hour{options: options{output: folder, repository: repository, rounds: 3, redo: redo}, machine: card, log: io.Discard}
	h.model.Path = "v1-5.safetensors"
	if err := h.claim(); err != nil {
		t.Fatal(err)
	}
	return h
}

// staged are stages that note that they were done; those of broken fail.
func staged(did *[]string, broken ...string) (stages []stage) {
	for _, name := range []string{"one", "two", "three"} {
		stages = append(stages, stage{name, "stage " + name, func(_ context.Context, log io.Writer) (found, error) {
			*did = append(*did, name)
			fmt.Fprintln(log, name, "says something")
			if slices.Contains(broken, name) {
				return found{Tests: &counts{Failed: []string{"TestX"}}}, errors.New("it broke")
			}
			return found{}, nil
		}})
	}
	return stages
}

// TestHour goes on where it left off: with what failed, and with what is to be done again.
func TestHour(t *testing.T) {
	folder := t.TempDir()
	for _, test := range []struct {
		broken, redo, did, failed []string
	}{
		{broken: []string{"two"}, did: []string{"one", "two", "three"}, failed: []string{"two"}},
		{broken: []string{"two"}, did: []string{"two"}, failed: []string{"two"}},
		{did: []string{"two"}},
		{},
		{redo: []string{"three"}, did: []string{"three"}},
	} {
		var did []string
		h := start(t, folder, test.redo...)
		if err := h.do(t.Context(), staged(&did, test.broken...)); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(did, test.did) || !slices.Equal(h.failed(), test.failed) {
			t.Errorf("%+v: did %q, failed %q", test, did, h.failed())
		}
		page, err := os.ReadFile(filepath.Join(folder, "report.md"))
		if err != nil {
			t.Fatal(err)
		}
		if told := strings.Contains(string(page), "## two failed\n\n```\nit broke\n```\n\nAll that it said is in two.log. These tests failed: TestX."); told != (test.failed != nil) {
			t.Errorf("%+v: the report is\n%s", test, page)
		}
	}
	if log, err := os.ReadFile(filepath.Join(folder, "two.log")); err != nil || string(log) != "two says something\n" {
		t.Errorf("the log is %q, %v", log, err)
	}
}

// TestTold ends in the midst of a stage, of which nothing is kept.
func TestTold(t *testing.T) {
	folder := t.TempDir()
	ctx, stop := context.WithCancel(t.Context())
	var did []string
	stages := staged(&did)
	stages[1].run = func(context.Context, io.Writer) (found, error) {
		stop()
		return found{}, errors.New("it was interrupted")
	}
	if err := start(t, folder).do(ctx, stages); !errors.Is(err, context.Canceled) || cli.Status(err) != cli.Interrupted {
		t.Errorf("have %v", err)
	}
	if err := start(t, folder).do(t.Context(), staged(&did)); err != nil || !slices.Equal(did, []string{"one", "two", "three"}) {
		t.Errorf("did %q, %v", did, err)
	}
}

// TestClaim refuses the folder of another machine.
func TestClaim(t *testing.T) {
	h := start(t, t.TempDir())
	h.machine.Driver = "CUDA 13.0 (libcuda.so.1)"
	if err := h.claim(); err == nil || !strings.Contains(err.Error(), "choose another folder") {
		t.Errorf("have %v", err)
	}
}

// TestNoCard says so and leaves no trace.
func TestNoCard(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "report")
	var none, old device.Report
	none.CUDA.Err = errors.New("no driver")
	old.CUDA.Cards = slices.Grow(old.CUDA.Cards, 1)[:1]
	old.CUDA.Cards[0].Err = errors.New("too old")
	for name, report := range map[string]device.Report{"there is no card to measure: no driver": none, "card 0 cannot be used: too old": old} {
		err := run(t.Context(), []string{"-repository", repository, "-output", folder}, io.Discard, io.Discard, func() machine { return examined(report) })
		if err == nil || err.Error() != name || cli.Status(err) != 1 {
			t.Errorf("have %v, want %q", err, name)
		}
		if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
			t.Error("something was written")
		}
	}
}

func TestParse(t *testing.T) {
	for _, args := range [][]string{{"-rounds", "0"}, {"-card", "-1"}, {"-redo", "all"}, {"-repository", t.TempDir()}, {"more"}} {
		if _, err := parse(append([]string{"-repository", repository}, args...), io.Discard); err == nil {
			t.Errorf("%q are taken", args)
		}
	}
	o, err := parse([]string{"-repository", repository, "-redo", "bench,picture"}, io.Discard)
	if err != nil || !filepath.IsAbs(o.output) || len(o.redo) != 2 {
		t.Errorf("%+v, %v", o, err)
	}
	var have []string
	h := hour{options: o, log: io.Discard}
	h.python, h.model.Path = "python3", "v1-5.safetensors"
	for _, s := range h.stages() {
		have = append(have, s.name)
	}
	if !slices.Equal(have, names) {
		t.Errorf("stages are %q, named %q", have, names)
	}
}

// TestReport has times beside predictions, which docs/kernels.md has for this card, and beside PyTorch's.
func TestReport(t *testing.T) {
	folder := t.TempDir()
	times := func(all ...float64) func(context.Context, io.Writer) (found, error) {
		return func(context.Context, io.Writer) (found, error) {
			return found{Timings: []timing{{"unet_step", all}}, Versions: map[string]string{"torch": "2.9"}}, nil
		}
	}
	tested := func(context.Context, io.Writer) (found, error) {
		return found{Tests: &counts{Passed: 9, Equal: 40, Approximate: 2, Different: 1}}, nil
	}
	h := start(t, folder)
	if err := h.do(t.Context(), []stage{{"kernels", "k", tested}, {"bench", "b", times(0.03, 0.01, 0.02)}, {"torch-eager", "e", times(0.08)}}); err != nil {
		t.Fatal(err)
	}
	var r report
	if err := readJSON(filepath.Join(folder, "report.json"), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Medians) != 1 || len(r.Stages) != 3 || !r.Machine.same(card) {
		t.Fatalf("%+v", r)
	}
	c := r.Medians[0]
	if c.Predicted < 0.005 || c.Predicted > 0.1 {
		t.Errorf("predicted are %g s", c.Predicted)
	}
	if c.Predicted = 0; c != (comparison{Phase: "unet_step", Seconds: 0.02, Least: 0.01, Most: 0.03, Eager: 0.08}) {
		t.Errorf("%+v", c)
	}
	page := r.markdown()
	for _, want := range []string{
		"# NVIDIA GeForce RTX 4090, 20", "driver CUDA 12.4", "| unet_step | 20.00 | 10.00 to 30.00 |", "| 0.25 | – |", "torch 2.9",
		"of 43 launches 40 gave equal bits, 2 were approximate, 1 differed",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is missing in\n%s", want, page)
		}
	}
}

// TestPredictions are in docs/kernels.md, for every card that there is a column for.
func TestPredictions(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(repository, "docs", "kernels.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := strings.ReplaceAll(string(data), "\r\n", "\n")
	for phase, title := range predictions {
		for name := range columns {
			own := predicted(page, title, machine{Card: name})
			if own <= 0 || own > 1 {
				t.Errorf("%s on %s takes %g s", phase, name, own)
			}
			if with := predicted(page, title, machine{Card: name, Libraries: []string{"cuBLASLt"}}); with > own || with == own && columns[name] == "H100 SXM" {
				t.Errorf("%s on %s takes %g s, with libraries %g", phase, name, own, with)
			}
		}
		if other := predicted(page, title, machine{Card: "NVIDIA GeForce RTX 4060 Ti"}); other != 0 {
			t.Errorf("%s is predicted for another card: %g s", phase, other)
		}
	}
}

func TestCount(t *testing.T) {
	const output = `=== RUN   TestX
    kernel_test.go:118: on the card: linear.16x8 gives equal bits
    kernel_test.go:118: on the card: softmax, which approximates, differs in 3 of 80 pairs of bytes
    kernel_test.go:118: on the card: norm DIFFERS in 1 of 80 pairs of bytes
    cuda_test.go:80: on the card: cuda (NVIDIA H200, fp16)
    --- FAIL: TestX/half (0.10s)
--- FAIL: TestX (0.10s)
--- PASS: TestY (0.00s)
--- SKIP: TestZ (0.00s)
FAIL`
	have, want := fmt.Sprintf("%+v", *count(strings.NewReader(output))), fmt.Sprintf("%+v", counts{
		Passed: 1, Skipped: 1, Failed: []string{"TestX/half", "TestX"}, OnCard: 4, Equal: 1, Approximate: 1, Different: 1,
	})
	if have != want {
		t.Errorf("have %s, want %s", have, want)
	}
}

// TestTests builds the tests of a package and runs one that has no use for a card, which a stage does not accept.
func TestTests(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it builds a package's tests")
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("there is no go command: ", err)
	}
	h := start(t, t.TempDir())
	var err error
	if h.repository, err = filepath.Abs(repository); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	f, err := h.test("cuda/internal/realcard", "^TestNumber$", false)(t.Context(), &log)
	if err == nil || f.Tests == nil || f.Tests.Passed != 1 || !strings.Contains(err.Error(), "without touching the card") {
		t.Errorf("have %+v, %v\n%s", f.Tests, err, &log)
	}
}

// sleeping has this test's program sleep.
const sleeping = "ATELIER_GPU_SLEEP"

// TestCommand ends a program when it is told to, and tells the last words of one that fails.
func TestCommand(t *testing.T) {
	if os.Getenv(sleeping) != "" {
		time.Sleep(time.Minute)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer stop()
	began := time.Now()
	if err := command(ctx, io.Discard, ".", []string{sleeping + "=1"}, self, "-test.run", "^TestCommand$"); err == nil || time.Since(began) > 20*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	var log bytes.Buffer
	err = command(t.Context(), &log, ".", nil, self, "-test.run", "(")
	if err == nil || !strings.Contains(err.Error(), "invalid regexp") || !strings.Contains(log.String(), "invalid regexp") {
		t.Errorf("have %v, log %q", err, &log)
	}
}

// TestDump keeps what is known of this card alone.
func TestDump(t *testing.T) {
	h, cache := start(t, t.TempDir()), t.TempDir()
	if _, err := h.dump(cache); err == nil {
		t.Error("nothing is taken for something")
	}
	for name, text := range map[string]string{"ways-1.json": `{"card":"another"}`, "ways-2.json": `{"card":"` + card.Card + `"}`, "ways-3.json": "{"} {
		if err := os.WriteFile(filepath.Join(cache, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	f, err := h.dump(cache)
	if err != nil || !slices.Equal(f.Files, []string{"ways-2.json"}) {
		t.Errorf("have %q, %v", f.Files, err)
	}
}
