package lora_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/internal/loratest"
	"github.com/atelier-go/atelier/unet"
	"github.com/atelier-go/atelier/weights"
)

// adaptersVariable names a folder with more adapters and what the programs that define them make of the model.
const adaptersVariable = "ATELIER_ADAPTERS"

// TestAdapter applies adapters of every kind to the tiny model and wants the outputs that the programs which define them give:
// LyCORIS' and PEFT's own modules, attached at strength 1.
func TestAdapter(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: runs both networks for every kind of adapter")
	}
	k := golden.Kit{Name: "tiny-random", Model: os.DirFS(filepath.Join(loratest.TinyRandom(t), "model"))}
	model := loratest.OpenModel(t, k)
	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	for _, dir := range append([]string{filepath.Join("testdata", "adapters")}, filepath.SplitList(os.Getenv(adaptersVariable))...) {
		files, err := filepath.Glob(filepath.Join(dir, "*.safetensors"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s has no adapters (%v)", dir, err)
		}
		in := golden.LoadFile(t, filepath.Join(dir, "input.safetensors"))
		for _, file := range files {
			name, ok := strings.CutSuffix(filepath.Base(file), ".safetensors")
			if !ok || name == "input" || strings.HasSuffix(name, ".out") {
				continue
			}
			t.Run(name, func(t *testing.T) {
				out := strings.TrimSuffix(file, ".safetensors") + ".out.safetensors"
				_, noOutputs := os.Stat(out)
				a, err := lora.Open(file, model.Targets)
				if kind, refused := errors.AsType[*lora.KindError](err); refused && noOutputs != nil {
					t.Skip("there are no outputs to compare with, and it is refused: ", kind)
				}
				if err != nil {
					t.Fatal(err)
				}
				if len(a.Unmatched)+len(a.Ignored) > 0 {
					t.Errorf("unmatched %q, ignored %q", a.Unmatched, a.Ignored)
				}
				if noOutputs != nil {
					t.Skip("there are no outputs to compare with: ", noOutputs)
				}
				want := golden.LoadFile(t, out)
				text, noise := model.Run(t, dev, in, lora.MergeOptions{Type: compute.F32}, at(a, 1))
				worst := max(golden.Check(t, "text", text, want.Tensor(t, name+".text")), golden.Check(t, "unet", noise, want.Tensor(t, name+".unet")))
				if worst > 1e-5 {
					t.Errorf("worst relative error: %.2g", worst)
				}
			})
		}
	}
}

// TestAdapterOrder applies three kinds to one weight: each changes what those before have made, in the order in which they are
// given, and the parameters below stay as they are.
func TestAdapterOrder(t *testing.T) {
	r := loratest.Rand()
	target := lora.Target{Kind: weights.KindUNet, Name: "module", Shape: compute.Shape{6, 5}}
	low := loratest.RandomModule(r, target, 2)
	scale := lora.Module{Target: target, Delta: lora.IA3{Factors: loratest.RandomFactor(r, 6).Data}}
	full := lora.Module{Target: target, Delta: lora.Difference{Factor: loratest.RandomFactor(r, 6, 5)}}
	param := loratest.Tensor("module.weight", loratest.RandomFactor(r, 6, 5))
	before := bytes.Clone(param.Data)
	src := &memory{params: map[string]weights.Tensor{"module.weight": param}}
	for _, order := range [][]lora.Module{{low, scale, full}, {scale, low, full}, {full, low, scale}} {
		want := make([]float64, 30)
		for i, v := range param.Float32s() {
			want[i] = float64(v)
		}
		var adapters []lora.Applied
		for i, m := range order {
			strength := []float64{0.7, -0.4, 1.1}[i]
			adapters = append(adapters, at(adapter(m), strength))
			for j := range want {
				switch d := m.Delta.(type) {
				case lora.IA3:
					want[j] += strength * float64(d.Factors[j/5]) * want[j]
				case lora.Difference:
					want[j] += strength * float64(d.Data[j])
				default:
					want[j] += product(m, strength, 0)[j]
				}
			}
		}
		merged, err := lora.Merge(src, weights.KindUNet, lora.MergeOptions{}, adapters...)
		if err != nil {
			t.Fatal(err)
		}
		checkParam(t, merged, "module.weight", want, compute.F32, 0)
	}
	if !bytes.Equal(param.Data, before) {
		t.Error("the parameters below are not what they were")
	}
}

// TestAdapterInpainting opens an adapter of four input channels for a UNet of nine: the other five stay as they are.
func TestAdapterInpainting(t *testing.T) {
	net := unet.SD15()
	net.InChannels = 9
	targets := loratest.NewTargets(t, clip.SD15(), net)
	down, up := loratest.RandomFactor(loratest.Rand(), 2, 4, 3, 3), loratest.RandomFactor(loratest.Rand(), 320, 2, 1, 1)
	a := open(t, loratest.Write(t, []weights.Tensor{loratest.Tensor("lora_unet_conv_in.lora_down.weight", down), loratest.Tensor("lora_unet_conv_in.lora_up.weight", up)}, nil), targets)
	change := product(a.Modules[0], 1, 0)
	four := lora.Module{Target: lora.Target{Shape: compute.Shape{320, 4, 3, 3}}, Delta: lora.LowRank{Down: down, Up: up, Alpha: 2}}
	for o, want := range slices.Collect(slices.Chunk(product(four, 1, 0), 36)) {
		if got := change[o*81:][:81]; !slices.Equal(got[:36], want) || slices.ContainsFunc(got[36:], func(v float64) bool { return v != 0 }) {
			t.Fatalf("output %d: %v, want %v and zeros", o, got, want)
		}
	}
}
