package golden

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/ref"
	"github.com/atelier-go/atelier/cpu"
)

// Device is a device that golden tests run on.
type Device struct {
	Name string
	Open func() (compute.Device, error)
}

// Devices lists the devices that must reproduce the goldens.
var Devices = []Device{
	{"ref", func() (compute.Device, error) { return ref.New(), nil }},
	{"cpu", func() (compute.Device, error) { return cpu.Open(cpu.Options{}) }},
}

// ForEach runs body as a subtest for every kit on every device; with -short not on the slow reference.
func ForEach(t *testing.T, body func(t *testing.T, k Kit, dev compute.Device)) {
	t.Helper()
	for _, k := range Kits(t) {
		for _, d := range Devices {
			t.Run(k.Name+"/"+d.Name, func(t *testing.T) {
				if testing.Short() && d.Name == "ref" {
					t.Skip("-short: the reference device takes minutes")
				}
				body(t, k, d.open(t))
			})
		}
	}
}

// OneOnRef skips a model but tiny-random on the reference device, which is slow: what compares a device with itself, and not with a
// golden, proves nothing more with a second one there.
func OneOnRef(t *testing.T, k Kit, dev compute.Device) {
	t.Helper()
	if _, slow := dev.(*ref.Device); slow && k.Name != "tiny-random" {
		t.Skip("the reference device agrees with itself on one model")
	}
}

func (d Device) open(t testing.TB) compute.Device {
	t.Helper()
	dev, err := d.Open()
	if err != nil {
		t.Fatalf("golden: opening %s: %v", d.Name, err)
	}
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Errorf("golden: closing %s: %v", d.Name, err)
		}
	})
	return dev
}

// Run compiles what b recorded, runs it once on the inputs ([]float32 or []int32, in the order of their declaration)
// and returns the outputs, in the order of theirs.
func Run(t testing.TB, dev compute.Device, src compute.ParamSource, b *compute.Builder, inputs ...any) [][]float32 {
	t.Helper()
	p, err := b.Build()
	check(t, err)
	params, err := dev.Load(src)
	check(t, err)
	defer params.Close()
	exe, err := dev.Compile(p, params)
	check(t, err)
	defer exe.Close()
	if len(inputs) != len(p.Inputs) {
		t.Fatalf("golden: %d inputs for a program of %d", len(inputs), len(p.Inputs))
	}
	tensors := func(values []compute.Value) (all []compute.Tensor) {
		for _, v := range values {
			x, err := dev.NewTensor(p.Type(v).DType, p.Shape(v)...)
			check(t, err)
			all = append(all, x)
		}
		return all
	}
	in, out := tensors(p.Inputs), tensors(p.Outputs)
	for _, x := range slices.Concat(in, out) {
		defer x.Close()
	}
	for i, x := range in {
		check(t, x.Upload(buffer(t, inputs[i])))
	}
	check(t, exe.Run(t.Context(), out, in))
	results := make([][]float32, len(out))
	for i, x := range out {
		results[i] = make([]float32, x.Shape().Elements())
		check(t, x.Download(compute.Floats(results[i])))
	}
	return results
}

func buffer(t testing.TB, values any) compute.Buffer {
	t.Helper()
	switch values := values.(type) {
	case []float32:
		return compute.Floats(values)
	case []int32:
		return compute.Ints(values)
	}
	t.Fatalf("golden: an input of type %T", values)
	return compute.Buffer{}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Probe pairs a golden with the module whose result it is.
type Probe struct{ Golden, Module string }

// CheckModules runs what b recorded and compares the results of modules with goldens, in the order of execution: the
// first failure names the module where the network leaves the golden. It adds outputs to b and needs one there.
func CheckModules(t testing.TB, dev compute.Device, src compute.ParamSource, b *compute.Builder, want File, probes []Probe, inputs ...any) {
	t.Helper()
	p, err := b.Build()
	check(t, err)
	at := map[Probe]int{}
	for _, probe := range probes {
		v := lastUnder(t, p, probe.Module)
		at[probe] = v.Index()
		if !p.Values[v.Index()].Output {
			b.Output(v)
		}
	}
	results := map[int][]float32{}
	outputs := Run(t, dev, src, b, inputs...)
	p, err = b.Build()
	check(t, err)
	for i, v := range p.Outputs {
		results[v.Index()] = outputs[i]
	}
	slices.SortStableFunc(probes, func(x, y Probe) int { return cmp.Compare(at[x], at[y]) })
	worst := 0.0
	for _, probe := range probes {
		worst = max(worst, Check(t, probe.Golden, results[at[probe]], want.Tensor(t, probe.Golden)))
	}
	t.Logf("worst relative error of %d modules: %.2g", len(probes), worst)
}

// lastUnder is the result of the last op that p recorded in the module at path: the module's result.
func lastUnder(t testing.TB, p *compute.Program, path string) compute.Value {
	t.Helper()
	for _, n := range slices.Backward(p.Nodes) {
		if n.Path == path || strings.HasPrefix(n.Path, path+".") {
			return n.Out[0]
		}
	}
	t.Fatalf("golden: no op is recorded under %q", path)
	return compute.Value{}
}
