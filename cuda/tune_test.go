package cuda

import (
	"bytes"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/computetest"
	"github.com/atelier-go/atelier/cuda/internal/simdriver"
	"github.com/atelier-go/atelier/cuda/internal/simlibrary"
	"github.com/atelier-go/atelier/internal/golden"
)

// learner opens devices that time and keep, with a clock that is told what to say.
type learner struct {
	folder  string
	wrong   bool // libraries compute something else
	card    simdriver.Card
	fastest string   // the way that the clock finds quick
	timed   []string // ways that the clock was asked about
	log     bytes.Buffer
	machine *simdriver.Machine
}

func (l *learner) open(t *testing.T) *Device {
	t.Helper()
	l.machine = simdriver.New(simdriver.Options{Card: l.card})
	l.log.Reset()
	libraries := simlibrary.New()
	libraries.Wrong = l.wrong
	d, err := with(l.machine, libraries.Computer(), Options{
		Precision: compute.PrecisionFP16, Cache: l.folder, Logger: slog.New(slog.NewTextHandler(&l.log, nil)),
	})
	check(t, err)
	l.timed = nil
	d.tuner.clock = func(name string, run func() error) (float64, error) {
		l.timed = append(l.timed, name)
		if strings.HasPrefix(name, l.fastest) {
			return 1, nil
		}
		return 2, run()
	}
	return d
}

func (l *learner) shut(t *testing.T, d *Device) {
	t.Helper()
	shut(t, l.machine, d)
}

// run runs the network, and tells how often each library was called and each way timed.
func (l *learner) run(t *testing.T) (products, convolutions, timed int) {
	t.Helper()
	d := l.open(t)
	_, err := draws(t, d)
	check(t, err)
	l.shut(t, d)
	if strings.Contains(l.log.String(), "left out") {
		t.Errorf("the log has %s", &l.log)
	}
	return l.machine.Calls("cublasLtMatmul"), l.machine.Calls("cudnnBackendExecute"), len(l.timed)
}

// TestTuning has each way be the fastest in turn: it is timed once, taken, and kept for the next device on the same card.
func TestTuning(t *testing.T) {
	l := &learner{folder: t.TempDir(), fastest: "cu"}
	products, convolutions, timed := l.run(t)
	if products == 0 || convolutions == 0 || timed < 6 || strings.Count(l.log.String(), "finding out") != 1 {
		t.Errorf("%d products and %d convolutions by libraries, %d ways timed", products, convolutions, timed)
	}
	if products, convolutions, timed := l.run(t); products != 2 || convolutions != 2 || timed != 0 {
		t.Errorf("from the cache: %d products and %d convolutions by libraries, want two; %d ways timed", products, convolutions, timed)
	}
	l.fastest = ownName
	if _, _, timed := l.run(t); timed != 0 {
		t.Errorf("the clock was asked %d times for what is known", timed)
	}
	l.card = simdriver.H100
	if _, _, timed := l.run(t); timed < 6 {
		t.Errorf("on another card %d ways were timed", timed)
	}
	if products, convolutions, _ := l.run(t); products+convolutions != 0 {
		t.Errorf("%d products and %d convolutions by libraries, where own kernels are the fastest", products, convolutions)
	}
}

// TestTiles has own kernels in each of their tiles be the fastest in turn, of a product that is large enough for them.
func TestTiles(t *testing.T) {
	var b compute.Builder
	source := new(computetest.Source)
	numbers := make([]float32, 128*32)
	for i := range numbers {
		numbers[i] = float32(i%13)/32 - 0.2
	}
	source.Add("weight", compute.F16, numbers, 128, 32)
	x := b.Op(compute.Activate{X: b.Input("x", compute.F32, 1, 192, 32), Activation: compute.SiLU})
	b.Output(b.Op(compute.Linear{X: x, Weight: b.Param("weight", 128, 32)}))
	input := make([]float32, 192*32)
	for i := range input {
		input[i] = float32(i%17)/8 - 1
	}
	var usual []float32
	for _, tile := range []string{ownName, "own, in tiles 128x128", "own, in tiles 128x64"} {
		l := &learner{folder: t.TempDir(), fastest: tile}
		d := l.open(t)
		have := golden.Run(t, d, source, &b, input)[0]
		if ways := slices.Collect(maps.Values(d.tuner.fastest)); len(ways) != 1 || !strings.HasPrefix(ways[0], tile) || len(l.timed) != 3+3 {
			t.Errorf("of %q %q was taken, want %s", l.timed, ways, tile)
		}
		if usual == nil {
			usual = have
		}
		near(t, have, usual)
		l.shut(t, d)
	}
}

// TestDamagedCache damages what is kept: it is logged, and learned anew.
func TestDamagedCache(t *testing.T) {
	l := &learner{folder: t.TempDir(), fastest: "cu"}
	_, _, all := l.run(t)
	files, err := filepath.Glob(filepath.Join(l.folder, "*"))
	check(t, err)
	for name, damage := range map[string]func(data []byte) []byte{
		"cut off": func(data []byte) []byte { return data[:len(data)/2] }, "empty": func([]byte) []byte { return nil },
		"of another card": func(data []byte) []byte { return bytes.ReplaceAll(data, []byte("RTX 3060"), []byte("RTX 3070")) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, file := range files {
				data, err := os.ReadFile(file)
				check(t, err)
				check(t, os.WriteFile(file, damage(data), 0o666))
			}
			if _, _, timed := l.run(t); timed != all || !strings.Contains(l.log.String(), "anew") {
				t.Errorf("%d ways were timed, want %d; the log has\n%s", timed, all, &l.log)
			}
		})
	}
}

// TestCacheBound fills the folder: what is of other cards and drivers goes, the oldest first, then what is this card's own, and nothing of anybody else's.
func TestCacheBound(t *testing.T) {
	c := cache{t.TempDir(), slog.Default(), identity{Card: "this"}}
	other := cache{c.folder, slog.Default(), identity{Card: "another"}}
	stranger := filepath.Join(c.folder, "kernel.cubin")
	files := []string{other.path("kernel", "old") + ".cubin", other.path("kernel", "new") + ".cubin", c.path("kernel", "older") + ".cubin", c.path("ways") + ".json"}
	for i, path := range append([]string{stranger}, files...) {
		check(t, os.WriteFile(path, make([]byte, 100), 0o666))
		when := time.Unix(int64(1000+i), 0)
		if path == files[2] {
			when = time.Unix(1, 0)
		}
		check(t, os.Chtimes(path, when, when))
	}
	for gone := range len(files) + 1 {
		c.shrink(int64(100 * (len(files) - gone)))
		for i, path := range files {
			if _, err := os.Stat(path); (err != nil) != (i < gone) {
				t.Errorf("with room for %d files %s: %v", len(files)-gone, filepath.Base(path), err)
			}
		}
	}
	if _, err := os.Stat(stranger); err != nil {
		t.Error(err)
	}
	large := other.path("kernel", "large") + ".cubin"
	check(t, os.WriteFile(large, nil, 0o666))
	check(t, os.Truncate(large, mostKept+1))
	l := &learner{folder: c.folder}
	l.shut(t, l.open(t))
	if _, err := os.Stat(large); err == nil {
		t.Error("a device begins with more than there may be")
	}
}

// TestWrongWay has libraries compute something else: they are not taken, however fast they are.
func TestWrongWay(t *testing.T) {
	l := &learner{folder: t.TempDir(), fastest: "cu", wrong: true}
	d := l.open(t)
	_, err := draws(t, d)
	check(t, err)
	l.shut(t, d)
	if !strings.Contains(l.log.String(), "of the size of that of own kernels") || slices.ContainsFunc(l.timed, func(name string) bool { return strings.HasPrefix(name, "cu") }) {
		t.Errorf("timed were %q; the log has\n%s", l.timed, &l.log)
	}
}

// TestTuningFails has each function fail while ways are timed: the model chooses, or the error says what failed, and everything is given back.
func TestTuningFails(t *testing.T) {
	for _, name := range []string{"cublasLtMatmul", "cudnnBackendExecute", "cuMemAlloc_v2", "cuEventCreate", "cuEventRecord", "cuLaunchKernel"} {
		for at := range 3 {
			l := &learner{folder: t.TempDir(), fastest: "own"}
			d := l.open(t)
			d.tuner.clock = d.events
			l.machine.Fail(name, at, simdriver.NotFound)
			if _, err := draws(t, d); err != nil && !strings.Contains(err.Error(), name) {
				t.Errorf("%s fails at call %d: %v", name, at+1, err)
			}
			l.machine.Mend(name)
			l.shut(t, d)
		}
	}
}

// TestCubins keeps what the driver assembled: the next device loads it, and text where the driver refuses it.
func TestCubins(t *testing.T) {
	l := &learner{folder: t.TempDir(), fastest: "own"}
	l.run(t)
	assembled := l.machine.Calls("cuLinkComplete")
	if assembled == 0 || assembled != l.machine.Calls("cuModuleLoadDataEx") {
		t.Errorf("%d assembled, %d loaded", assembled, l.machine.Calls("cuModuleLoadDataEx"))
	}
	l.run(t)
	if n := l.machine.Calls("cuLinkComplete"); n != 0 {
		t.Errorf("%d are assembled anew", n)
	}
	refuse := func(name string, code simdriver.Code) {
		d := l.open(t)
		l.machine.Fail(name, 0, code)
		program, source := network(t)
		params, err := d.Load(source)
		check(t, err)
		exe, err := d.Compile(program, params)
		l.machine.Mend(name)
		defer func() {
			check(t, params.Close())
			l.shut(t, d)
		}()
		if name == "cuModuleLoadDataEx" {
			if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(l.log.String(), "anew") {
				t.Errorf("%s fails: %v; the log has\n%s", name, err, &l.log)
			}
			return
		}
		check(t, err)
		check(t, exe.Close())
	}
	refuse("cuModuleLoadDataEx", simdriver.NoBinary)
	l.folder = t.TempDir()
	for _, name := range []string{"cuLinkCreate_v2", "cuLinkAddData_v2", "cuLinkComplete"} {
		refuse(name, simdriver.NotFound)
	}
}
