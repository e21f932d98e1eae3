package train_test

import (
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/lora/internal/loratest"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/ref"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/train"
)

// tinyTraining calls body, once for each device, with a training of tiny-random: an eighth of the modules of its networks,
// convolutions included, with up factors that are not 0, and two batches of a sample.
func tinyTraining(t *testing.T, body func(t *testing.T, k golden.Kit, dev compute.Device, modules []lora.Module, batches []train.Batch)) {
	t.Helper()
	golden.ForEach(t, func(t *testing.T, k golden.Kit, dev compute.Device) {
		if k.Name != "tiny-random" {
			t.Skip("one model is enough")
		}
		targets := loratest.OpenModel(t, k).Targets
		r := openTraining(t, k, "train", targets)
		all, err := lora.Network{Dim: 2, ConvDim: 2}.New(targets, 7)
		if err != nil {
			t.Fatal(err)
		}
		var modules []lora.Module
		for i, m := range all {
			if i%8 != 0 {
				continue
			}
			modules = append(modules, m)
			l := loratest.LowRank(m)
			for j := range l.Up.Data {
				l.Up.Data[j] = l.Down.Data[j%len(l.Down.Data)] / 2
			}
		}
		body(t, k, dev, modules, []train.Batch{single(r.batch(t, 0), 0), single(r.batch(t, 1), 1)})
	})
}

// single is a batch of one sample of another.
func single(b train.Batch, n int) train.Batch {
	size, tokens := len(b.Latents)/b.Samples, len(b.IDs)/b.Samples
	return train.Batch{
		Samples: 1, Height: b.Height, Width: b.Width, Latents: b.Latents[n*size:][:size], Noise: b.Noise[n*size:][:size],
		Timesteps: b.Timesteps[n : n+1], IDs: b.IDs[n*tokens:][:tokens],
	}
}

// TestTrainerState stops a training after two steps and goes on with another trainer, and with the same one after it
// went astray: both must arrive where the training without a stop does, to the bit.
func TestTrainerState(t *testing.T) {
	long(t)
	tinyTraining(t, func(t *testing.T, k golden.Kit, dev compute.Device, modules []lora.Module, batches []train.Batch) {
		rates := train.Rates{TextEncoder: 1e-3, UNet: 1e-3}
		for _, o := range []train.Options{
			{}, {OptimizerType: "Lion"}, {OptimizerType: "SGDNesterov"}, {OptimizerType: "Adafactor"},
			{OptimizerType: "Prodigy", OptimizerArgs: []string{"d0=1e-3"}}, {OptimizerType: "DAdaptAdam", OptimizerArgs: []string{"d0=1e-3"}},
			{LoRAPlusRatio: 4, ScaleWeightNorms: 0.1},
		} {
			if _, ok := dev.(*ref.Device); ok && (o.OptimizerType != "" || o.ScaleWeightNorms > 0) {
				continue // what runs on the host is the same with every device
			}
			learn := func(tr *train.Trainer, from, steps int) {
				t.Helper()
				for i := range steps {
					step(t, tr, batches[(from+i)%2])
					update(t, tr, rates)
				}
			}
			state := func(tr *train.Trainer) train.State {
				t.Helper()
				s, err := tr.State()
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			restore := func(tr *train.Trainer, s train.State) {
				t.Helper()
				if err := tr.Restore(s); err != nil {
					t.Fatal(err)
				}
			}
			first := newTrainer(t, k, dev, modules, o)
			learn(first, 0, 2)
			middle := state(first)
			learn(first, 2, 2)
			want := state(first)
			if maps.EqualFunc(middle.Tensors, want.Tensors, func(a, b lora.Factor) bool { return equal(a.Data, b.Data) }) {
				t.Fatal("two steps change nothing")
			}
			compare := func(who string, tr *train.Trainer) {
				t.Helper()
				got := state(tr)
				if !maps.Equal(got.Numbers, want.Numbers) {
					t.Errorf("%s: numbers are %v, want %v", who, got.Numbers, want.Numbers)
				}
				for name, w := range want.Tensors {
					if g := got.Tensors[name]; !g.Shape.Equal(w.Shape) || !equal(g.Data, w.Data) {
						t.Errorf("%s: %s: %v", who, name, golden.Compare(g.Data, w.Data))
					}
				}
			}
			second := newTrainer(t, k, dev, modules, o)
			restore(second, middle)
			learn(second, 2, 2)
			compare("another trainer", second)

			step(t, first, batches[0]) // a batch that no update uses
			compare("in the middle of a step", first)
			restore(first, middle)
			learn(first, 2, 2)
			compare("the same trainer", first)
		}
	})
}

// TestTrainerRestoreErrors restores states that do not fit; the trainer must stay as it was.
func TestTrainerRestoreErrors(t *testing.T) {
	long(t)
	tinyTraining(t, func(t *testing.T, k golden.Kit, dev compute.Device, modules []lora.Module, _ []train.Batch) {
		tr := newTrainer(t, k, dev, modules[:2], train.Options{})
		good, err := tr.State()
		if err != nil {
			t.Fatal(err)
		}
		key := modules[0].Key() + ".lora_down.weight"
		for _, c := range []struct {
			name   string
			change func(s train.State)
			say    string
		}{
			{"missing", func(s train.State) { delete(s.Tensors, key) }, `"` + key + `" is missing`},
			{"moment missing", func(s train.State) { delete(s.Tensors, key+".m") }, key + `.m" is missing`},
			{"left over", func(s train.State) { s.Tensors["other.lora_up.weight"] = lora.Factor{} }, `"other.lora_up.weight" belongs to no module`},
			{"misshapen", func(s train.State) {
				s.Tensors[key] = lora.Factor{Shape: compute.Shape{3, 4}, Data: make([]float32, 12)}
			}, "is [3 4] with 12 numbers, want"},
			{"numbers missing", func(s train.State) { s.Tensors[key] = lora.Factor{Shape: s.Tensors[key].Shape} }, "with 0 numbers, want"},
			{"not finite", func(s train.State) {
				x := s.Tensors[key]
				x.Data = slices.Clone(x.Data)
				x.Data[1] = float32(math.NaN())
				s.Tensors[key] = x
			}, "not finite"},
			{"no steps", func(s train.State) { delete(s.Numbers, "steps") }, `number "steps"`},
			{"half a step", func(s train.State) { s.Numbers["steps"] = 1.5 }, `number "steps" is 1.5`},
			{"many", func(s train.State) { clear(s.Tensors) }, "and 4 more"},
		} {
			s := train.State{Tensors: maps.Clone(good.Tensors), Numbers: maps.Clone(good.Numbers)}
			for i := range s.Tensors { // what restoring would change
				x := s.Tensors[i]
				s.Tensors[i] = lora.Factor{Shape: x.Shape, Data: ones(len(x.Data))}
			}
			c.change(s)
			if err := tr.Restore(s); err == nil || !strings.Contains(err.Error(), c.say) {
				t.Errorf("%s: the error is %v\nwant %q in it", c.name, err, c.say)
			}
		}
		now, err := tr.State()
		if err != nil {
			t.Fatal(err)
		}
		if !maps.EqualFunc(now.Tensors, good.Tensors, func(a, b lora.Factor) bool { return equal(a.Data, b.Data) }) {
			t.Error("a state that does not fit changes the trainer")
		}
	})
}
