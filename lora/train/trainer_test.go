package train_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/lora/internal/loratest"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/ref"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/nn"
	"github.com/atelier-go/atelier/unet"
	"github.com/atelier-go/atelier/weights"
)

// training is a golden training: every random choice of it and what came of it.
type training struct {
	golden.File
	modules []lora.Module
	options train.Options
	rates   train.Rates
	steps   int
}

// openTraining reads goldens/name.safetensors.
func openTraining(t *testing.T, k golden.Kit, name string, targets *lora.Targets) training {
	t.Helper()
	r := training{File: k.Load(t, name)}
	number := func(key string) float64 {
		t.Helper()
		first, _, _ := strings.Cut(r.Metadata[key], " ") // words may follow
		v, err := strconv.ParseFloat(first, 64)
		if err != nil {
			t.Fatalf("%s: metadata %q: %v", name, key, err)
		}
		return v
	}
	alpha := number("alpha")
	for _, target := range targets.All() {
		if len(r.Names("init."+target.Key()+".")) == 0 {
			continue
		}
		factor := func(prefix, part string) lora.Factor {
			x := r.Tensor(t, prefix+target.Key()+part)
			return lora.Factor{Shape: x.Shape, Data: x.Float32}
		}
		l := lora.LowRank{Down: factor("init.", ".lora_down.weight"), Up: factor("final.", ".lora_up.weight"), Alpha: alpha}
		l.Up.Data = make([]float32, len(l.Up.Data)) // only the shape is given away: training starts with zeros
		r.modules = append(r.modules, lora.Module{Target: target, Delta: l})
	}
	if want := len(r.Names("init.")); len(r.modules) != want {
		t.Fatalf("%s: %d of %d modules are targets", name, len(r.modules), want)
	}
	r.options = train.Options{Objective: train.Objective{MinSNRGamma: number("min_snr_gamma")}, MaxGradNorm: number("clip")}
	r.rates = train.Rates{TextEncoder: number("lr_text"), UNet: number("lr_unet")}
	r.steps = len(r.Tensor(t, "losses").Float32)
	return r
}

// batch is what step i learns from.
func (r training) batch(t *testing.T, i int) train.Batch {
	t.Helper()
	n := strconv.Itoa(i)
	z := r.Tensor(t, "latents."+n)
	b := train.Batch{
		Samples: z.Shape[0], Height: z.Shape[2], Width: z.Shape[3],
		Latents: z.ChannelsLast().Float32, Noise: r.Tensor(t, "noise."+n).ChannelsLast().Float32, IDs: r.Tensor(t, "input_ids").Int32(),
	}
	for _, step := range r.Tensor(t, "timesteps."+n).Float32 {
		b.Timesteps = append(b.Timesteps, int(step))
	}
	return b
}

// newTrainer starts a trainer until the end of the test.
func newTrainer(t *testing.T, k golden.Kit, dev compute.Device, modules []lora.Module, o train.Options) *train.Trainer {
	t.Helper()
	tr, err := train.NewTrainer(dev, k.Open(t), modules, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	return tr
}

// step is Trainer.Step; a device without the ops of training skips the test.
func step(t *testing.T, tr *train.Trainer, b train.Batch) float64 {
	t.Helper()
	loss, err := tr.Step(t.Context(), b)
	skipUnsupported(t, err)
	if err != nil {
		t.Fatal(err)
	}
	return loss
}

func update(t *testing.T, tr *train.Trainer, r train.Rates) train.Update {
	t.Helper()
	u, err := tr.Update(r)
	skipUnsupported(t, err)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func skipUnsupported(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, compute.ErrUnsupported) {
		t.Skipf("the device cannot train: %v", err)
	}
}

// factors lists the tensors of modules by their names in kohya's files.
func factors(modules []lora.Module) map[string][]float32 {
	all := make(map[string][]float32)
	for _, m := range modules {
		all[m.Key()+".lora_down.weight"], all[m.Key()+".lora_up.weight"] = loratest.LowRank(m).Down.Data, loratest.LowRank(m).Up.Data
	}
	return all
}

// negligible is the size below which a gradient is only rounding: those of queries and keys of an attention to a single
// key are zero, since its softmax is 1 whatever they are, and PyTorch's float64 leaves some 1e-19 there. Relative errors
// have no meaning for them, so both must be below this instead. AdamW divides by the gradient's own size and turns such
// rounding into steps of full length; the weights of these tensors are compared only within that length, steps × rate.
const negligible = 1e-9

// euclidean is ‖got-want‖/‖want‖.
func euclidean(got, want []float32) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	var difference, norm float64
	for i, w := range want {
		d := float64(got[i]) - float64(w)
		difference, norm = difference+d*d, norm+float64(w)*float64(w)
	}
	return math.Sqrt(difference / norm)
}

// firstStep is how far AdamW's first step takes a weight with gradient g at rate 1, apart from the decay: its moments are
// then the gradient itself and its square, and the step is g/(|g|+ε), all but ±1 however small g is.
func firstStep(g float32) float64 { return -float64(g) / (math.Abs(float64(g)) + 1e-8) }

// stepped is the modules after the first update that PyTorch makes of its gradients.
func (r training) stepped(t *testing.T) []lora.Module {
	t.Helper()
	const decay = 0.01
	modules := slices.Clone(r.modules)
	for i := range modules {
		m, rate := &modules[i], r.rate(modules[i].Kind)
		l := loratest.LowRank(*m)
		for part, factor := range map[string]*lora.Factor{".lora_down.weight": &l.Down, ".lora_up.weight": &l.Up} {
			data := slices.Clone(factor.Data)
			for j, g := range r.Tensor(t, "grad.0."+m.Key()+part).Float32 {
				data[j] = float32(float64(data[j])*(1-rate*decay) + rate*firstStep(g))
			}
			factor.Data = data
		}
		m.Delta = l
	}
	return modules
}

func (r training) rate(kind weights.Kind) float64 {
	if kind == weights.KindTextEncoder {
		return r.rates.TextEncoder
	}
	return r.rates.UNet
}

// TestTrainGolden repeats the trainings of the kit and compares losses, gradients, their norms and the weights at the end
// with PyTorch's in float64, by the worst element.
//
// Only the reference device, which sums in float64, can do so for what follows from its own first step: that is nearly the
// whole rate, up or down, even for a gradient of 1e-8, and the rounding of such a gradient moves its weight visibly. PyTorch
// itself, run in float32, leaves these goldens by 4e-4 in a weight and 3e-4 in a second gradient. So on other devices the
// second gradients are compared by the worst element at the weights that PyTorch had then, and at the device's own in the
// Euclidean norm; and the weights at the end in the Euclidean norm, and by the worst element once they are rid of the
// difference between the first steps of two gradients that have passed for equal.
func TestTrainGolden(t *testing.T) {
	long(t)
	golden.ForEach(t, func(t *testing.T, k golden.Kit, dev compute.Device) {
		names := k.Names("train")
		if len(names) == 0 {
			t.Skip("the kit has no trainings")
		}
		targets := loratest.OpenModel(t, k).Targets
		for _, name := range names {
			t.Run(name, func(t *testing.T) {
				r := openTraining(t, k, name, targets)
				worst := map[string]float64{}
				compare := func(what, key string, got []float32, want golden.Tensor) {
					t.Helper()
					worst[what] = max(worst[what], golden.Check(t, key, got, want))
				}
				whole := func(what, key string, got []float32, want golden.Tensor) {
					t.Helper()
					e := euclidean(got, want.Float32)
					if !(e <= golden.Tolerance) {
						t.Errorf("%s: relative error %.2g in the Euclidean norm; %v", key, e, golden.Compare(got, want.Float32))
					}
					worst[what] = max(worst[what], e)
				}
				idle := map[string]bool{} // tensors with a negligible first gradient
				// learn makes step i, compares all that comes of it and returns the gradients of the first two; compareGradient
				// is compare or whole.
				learn := func(tr *train.Trainer, i int, what string, compareGradient func(what, key string, got []float32, want golden.Tensor)) (gradients map[string][]float32) {
					t.Helper()
					loss := step(t, tr, r.batch(t, i))
					losses := r.Tensor(t, "losses")
					compare("losses", fmt.Sprintf("losses[%d]", i), []float32{float32(loss)}, golden.Tensor{Shape: compute.Shape{1}, Float32: losses.Float32[i : i+1]})
					if i < 2 {
						modules, err := tr.Gradients()
						if err != nil {
							t.Fatal(err)
						}
						gradients = factors(modules)
					}
					u := update(t, tr, r.rates)
					norm := fmt.Sprintf("grad_norm.%d", i)
					compare("norms", norm, []float32{float32(u.Norm)}, r.Tensor(t, norm))
					clip := min(1, r.options.MaxGradNorm/(u.Norm+1e-6))
					for key, g := range gradients {
						name := fmt.Sprintf("grad.%d.%s", i, key)
						for j := range g {
							g[j] = float32(clip * float64(g[j]))
						}
						want := r.Tensor(t, name)
						if loratest.Largest(want.Float32) > negligible {
							compareGradient(what, name, g, want)
						} else if loratest.Largest(g) > negligible {
							t.Errorf("%s is up to %g, want nothing beyond %g", name, loratest.Largest(g), negligible)
						}
						idle[key] = idle[key] || i == 1 && loratest.Largest(want.Float32) <= negligible
					}
					return gradients
				}
				learn(newTrainer(t, k, dev, r.stepped(t), r.options), 1, "second gradients at PyTorch's weights", compare)

				tr := newTrainer(t, k, dev, r.modules, r.options)
				first := learn(tr, 0, "first gradients", compare)
				_, exact := dev.(*ref.Device)
				if exact {
					learn(tr, 1, "second gradients", compare)
				} else {
					learn(tr, 1, "second gradients as a whole", whole)
				}
				for i := 2; i < r.steps; i++ {
					learn(tr, i, "", nil)
				}
				modules, err := tr.Modules()
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range modules {
					rate := r.rate(m.Kind)
					for key, got := range factors([]lora.Module{m}) {
						want := r.Tensor(t, "final."+key)
						if idle[key] {
							reach := float64(r.steps) * rate
							for j, w := range want.Float32 {
								if d := math.Abs(float64(got[j]) - float64(w)); !(d <= reach) {
									t.Errorf("final.%s: element %d is %v, want %v: further away than %d steps reach, %g", key, j, got[j], w, r.steps, reach)
								}
							}
							continue
						}
						if !exact {
							whole("weights as a whole", "final."+key, got, want)
							for j, g := range r.Tensor(t, "grad.0."+key).Float32 {
								got[j] -= float32(rate * (firstStep(first[key][j]) - firstStep(g)))
							}
						}
						compare("weights", "final."+key, got, want)
					}
				}
				t.Logf("worst relative errors of %d steps and %d modules: %v", r.steps, len(r.modules), worst)
			})
		}
	})
}

// TestAttachedGolden runs both networks with the kit's adapters attached to their layers, as training has them, and compares
// with what diffusers and PEFT compute; TestGolden does the same with merged adapters.
func TestAttachedGolden(t *testing.T) {
	long(t)
	golden.ForEach(t, func(t *testing.T, k golden.Kit, dev compute.Device) {
		files := loratest.Labels(t, k)
		m, want := loratest.OpenModel(t, k), k.Load(t, "lora_goldens")
		var textLayers, unetLayers nn.Layers
		text, err := clip.New(m.Text.Config(), &textLayers)
		if err != nil {
			t.Fatal(err)
		}
		net, err := unet.New(m.UNet.Config(), &unetLayers)
		if err != nil {
			t.Fatal(err)
		}
		ids, sample, timestep := want.Tensor(t, "input_ids"), want.Tensor(t, "sample").ChannelsLast(), want.Tensor(t, "timestep")
		for _, label := range files {
			a, err := lora.Open(loratest.GoldenPath(t, k, "lora_"+label), m.Targets)
			if err != nil {
				t.Fatal(err)
			}
			if slices.ContainsFunc(a.Modules, func(m lora.Module) bool { return loratest.LowRank(m).Mid.Data != nil }) {
				t.Logf("%s has modules of three factors, which are merged and not attached", label)
				continue
			}
			// attach puts the modules of one network on its layers and returns the inputs of the factors.
			attach := func(b *compute.Builder, kind weights.Kind, layers *nn.Layers) (inputs []any) {
				for _, name := range layers.Names() {
					if err := layers.Attach(name, nil); err != nil { // of the file before
						t.Fatal(err)
					}
				}
				for i := range a.Modules {
					x := &a.Modules[i]
					if x.Kind != kind {
						continue
					}
					err := layers.Attach(x.Name, &nn.Adapter{
						Down: b.Input(x.Key()+".down", compute.F32, loratest.LowRank(*x).Down.Shape...), Up: b.Input(x.Key()+".up", compute.F32, loratest.LowRank(*x).Up.Shape...), Scale: loratest.LowRank(*x).Scale(),
					})
					if err != nil {
						t.Fatal(err)
					}
					inputs = append(inputs, loratest.LowRank(*x).Down.Data, loratest.LowRank(*x).Up.Data)
				}
				return inputs
			}
			var encoder, b compute.Builder
			in := attach(&encoder, weights.KindTextEncoder, &textLayers)
			encoder.Output(text.Forward(&encoder, encoder.Input("input_ids", compute.I32, ids.Shape...), 0))
			hidden := runTraining(t, dev, m.TextParams, &encoder, append(in, ids.Int32())...)
			golden.Check(t, label+".1.text", hidden, want.Tensor(t, label+".1.text"))

			in = attach(&b, weights.KindUNet, &unetLayers)
			x := b.Input("sample", compute.F32, sample.Shape...)
			time := b.Input("timestep", compute.F32, timestep.Shape...)
			c := b.Input("encoder_hidden_states", compute.F32, want.Tensor(t, label+".1.text").Shape...)
			b.Output(net.Apply(&b, x, time, c))
			noise := runTraining(t, dev, m.UNetParams, &b, append(in, sample.Float32, timestep.Float32, hidden)...)
			golden.Check(t, label+".1.unet", noise, want.Tensor(t, label+".1.unet"))
		}
	})
}

// runTraining is golden.Run for a program with the ops of training; a device without them skips the test.
func runTraining(t *testing.T, dev compute.Device, src compute.ParamSource, b *compute.Builder, inputs ...any) []float32 {
	t.Helper()
	p, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	params, err := dev.Load(src)
	if err != nil {
		t.Fatal(err)
	}
	defer params.Close()
	exe, err := dev.Compile(p, params)
	skipUnsupported(t, err)
	if err == nil {
		exe.Close()
	}
	return golden.Run(t, dev, src, b, inputs...)[0]
}

// TestTrainerMetamorphic trains on batches that belong together and compares.
func TestTrainerMetamorphic(t *testing.T) {
	long(t)
	golden.ForEach(t, func(t *testing.T, k golden.Kit, dev compute.Device) {
		if k.Name != "tiny-random" {
			t.Skip("one model is enough")
		}
		r := openTraining(t, k, "train", loratest.OpenModel(t, k).Targets)
		r.modules = nil // half of a network with convolutions
		modules, err := lora.Network{Dim: 2, ConvDim: 2}.New(loratest.OpenModel(t, k).Targets, 7)
		if err != nil {
			t.Fatal(err)
		}
		for i := range modules {
			if i%2 == 0 {
				continue
			}
			m := modules[i]
			l := loratest.LowRank(m)
			for j := range l.Up.Data {
				l.Up.Data[j] = l.Down.Data[j%len(l.Down.Data)] / 2 // so that gradients reach the down factors
			}
			r.modules = append(r.modules, m)
		}
		pair := r.batch(t, 0)
		run := func(o train.Options, batches ...train.Batch) (loss float64, gradients, trained map[string][]float32) {
			tr := newTrainer(t, k, dev, r.modules, o)
			for _, b := range batches {
				loss += step(t, tr, b) / float64(len(batches))
			}
			g, err := tr.Gradients()
			if err != nil {
				t.Fatal(err)
			}
			update(t, tr, train.Rates{TextEncoder: 1e-3, UNet: 1e-3})
			m, err := tr.Modules()
			if err != nil {
				t.Fatal(err)
			}
			return loss, factors(g), factors(m)
		}
		plain, gradients, weights := run(train.Options{}, pair)

		t.Run("checkpointed is plain to the bit", func(t *testing.T) {
			loss, g, w := run(train.Options{Checkpointing: true}, pair)
			if loss != plain {
				t.Errorf("the loss is %v, want %v", loss, plain)
			}
			for key := range gradients {
				if !equal(g[key], gradients[key]) || !equal(w[key], weights[key]) {
					t.Errorf("%s: %v in its gradient", key, golden.Compare(g[key], gradients[key]))
				}
			}
		})
		t.Run("a batch of two is the mean of two singles", func(t *testing.T) {
			loss, g, _ := run(train.Options{Accumulation: 2}, single(pair, 0), single(pair, 1))
			if math.Abs(loss-plain) > 1e-6*plain {
				t.Errorf("the loss is %v, want %v", loss, plain)
			}
			for key, want := range gradients {
				for i := range want {
					g[key][i] /= 2
				}
				if loratest.Largest(want) > negligible {
					golden.Check(t, key, g[key], golden.Tensor{Float32: want})
				}
			}
		})
		t.Run("a mask of ones and weights of one change nothing", func(t *testing.T) {
			b := pair
			b.Mask, b.Weights = ones(pair.Samples*pair.Height*pair.Width), ones(pair.Samples)
			loss, g, _ := run(train.Options{}, b)
			if math.Abs(loss-plain) > 1e-6*plain {
				t.Errorf("the loss is %v, want %v", loss, plain)
			}
			for key, want := range gradients {
				if loratest.Largest(want) > negligible {
					golden.Check(t, key, g[key], golden.Tensor{Float32: want})
				}
			}
		})
		t.Run("what has no weight teaches nothing", func(t *testing.T) {
			b := pair
			b.Weights = make([]float32, b.Samples)
			loss, g, _ := run(train.Options{}, b)
			if loss != 0 {
				t.Errorf("the loss is %v, want 0", loss)
			}
			for key := range gradients {
				if loratest.Largest(g[key]) != 0 {
					t.Errorf("%s has a gradient up to %g", key, loratest.Largest(g[key]))
				}
			}
		})
		t.Run("a module that is dropped is not there", func(t *testing.T) {
			b := pair
			for i, m := range r.modules {
				ranks := ones(b.Samples * m.Rank())
				if i%2 == 0 {
					clear(ranks)
				}
				b.Dropout = append(b.Dropout, ranks)
			}
			loss, g, _ := run(train.Options{}, b)
			all, without := r.modules, slices.Clone(r.modules)
			for i := range without {
				if i%2 == 0 {
					l := loratest.LowRank(without[i])
					l.Up.Data = make([]float32, len(l.Up.Data))
					without[i].Delta = l
				}
			}
			r.modules = without
			want, _, _ := run(train.Options{}, pair)
			r.modules = all
			if math.Abs(loss-want) > 1e-6*want || math.Abs(loss-plain) < 1e-6*plain {
				t.Errorf("the loss is %v, want %v as with up = 0, and not %v as with all modules", loss, want, plain)
			}
			for i, m := range r.modules {
				if key := m.Key() + ".lora_up.weight"; i%2 == 0 && loratest.Largest(g[key]) != 0 {
					t.Errorf("%s has a gradient up to %g", key, loratest.Largest(g[key]))
				}
			}
		})
		t.Run("a skipped step changes nothing", func(t *testing.T) {
			tr := newTrainer(t, k, dev, r.modules, train.Options{})
			b := pair
			b.Weights = []float32{float32(math.Inf(1)), 1}
			step(t, tr, b)
			if u := update(t, tr, train.Rates{TextEncoder: 1e-3, UNet: 1e-3}); !u.Skipped {
				t.Errorf("the update is %+v, want it skipped", u)
			}
			step(t, tr, pair)
			update(t, tr, train.Rates{TextEncoder: 1e-3, UNet: 1e-3})
			m, err := tr.Modules()
			if err != nil {
				t.Fatal(err)
			}
			for key, got := range factors(m) {
				if !equal(got, weights[key]) {
					t.Errorf("%s: %v", key, golden.Compare(got, weights[key]))
				}
			}
		})
	})
}

func equal(a, b []float32) bool {
	for i := range b {
		if a[i] != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}

func ones(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = 1
	}
	return v
}

func TestTrainerErrors(t *testing.T) {
	targets := loratest.TinyTargets(t)
	modules, err := lora.Network{Dim: 2}.New(targets, 1)
	if err != nil {
		t.Fatal(err)
	}
	first := loratest.LowRank(modules[0])
	ckpt, err := weights.Open(filepath.Join(loratest.TinyRandom(t), "model"), weights.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ckpt.Close()
	dev := ref.New()
	for _, c := range []struct {
		name    string
		modules []lora.Module
		options train.Options
		say     string
	}{
		{"nothing", nil, train.Options{}, "nothing to train"},
		{"factors that do not fit", []lora.Module{{Target: modules[0].Target, Delta: lora.LowRank{Down: first.Up, Up: first.Up}}}, train.Options{}, "make up the weight"},
		{"alpha 0", []lora.Module{{Target: modules[0].Target, Delta: lora.LowRank{Down: first.Down, Up: first.Up}}}, train.Options{}, "alpha is 0"},
		{"module of another model", []lora.Module{{
			Target: lora.Target{Kind: modules[0].Kind, Name: "text_model.encoder.layers.99.mlp.fc1", Shape: modules[0].Shape}, Delta: lora.LowRank{Down: first.Down, Up: first.Up, Alpha: 1},
		}}, train.Options{}, `no layer "text_model.encoder.layers.99.mlp.fc1"`},
		{"objective", modules, train.Options{Objective: train.Objective{MinSNRGamma: -1}}, "Options.MinSNRGamma is -1"},
		{"ratio", modules, train.Options{LoRAPlusRatio: -1}, "Options.LoRAPlusRatio is -1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := train.NewTrainer(dev, ckpt, c.modules, c.options); err == nil || !strings.Contains(err.Error(), c.say) {
				t.Errorf("the error is %v\nwant %q in it", err, c.say)
			}
		})
	}

	tr, err := train.NewTrainer(dev, ckpt, modules, train.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if _, err := tr.Update(train.Rates{}); err == nil || !strings.Contains(err.Error(), "without a step") {
		t.Errorf("an update before a step gives %v", err)
	}
	good := train.Batch{
		Samples: 1, Height: 8, Width: 8, Latents: make([]float32, 256), Noise: make([]float32, 256), Timesteps: []int{5}, IDs: make([]int32, 77),
	}
	for _, c := range []struct {
		name   string
		change func(b *train.Batch)
		say    string
	}{
		{"no samples", func(b *train.Batch) { b.Samples = 0 }, "0 samples"},
		{"latents of another size", func(b *train.Batch) { b.Height = 16 }, "256 latents, want 512"},
		{"noise missing", func(b *train.Batch) { b.Noise = nil }, "0 noise"},
		{"timestep too late", func(b *train.Batch) { b.Timesteps = []int{1000} }, "timesteps [1000], want 0 to 999"},
		{"no caption", func(b *train.Batch) { b.IDs = nil }, "0 token ids"},
		{"too many tokens", func(b *train.Batch) { b.IDs = make([]int32, 78) }, "captions of 78 tokens, want at most 77"},
		{"mask of another size", func(b *train.Batch) { b.Mask = make([]float32, 3) }, "3 of a mask"},
		{"weights of others", func(b *train.Batch) { b.Weights = make([]float32, 3) }, "3 weights"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := good
			c.change(&b)
			if _, err := tr.Step(t.Context(), b); err == nil || !strings.Contains(err.Error(), c.say) {
				t.Errorf("the error is %v\nwant %q in it", err, c.say)
			}
		})
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if _, err := tr.Step(ctx, good); !errors.Is(err, context.Cause(ctx)) {
		t.Errorf("a step with a context that is done gives %v", err)
	}
	if _, err := tr.Step(t.Context(), good); err != nil {
		t.Errorf("a good batch after all that gives %v", err)
	}
}

// TestTrainerEvaluate compares evaluations with the losses of steps, and looks at what changes them.
func TestTrainerEvaluate(t *testing.T) {
	long(t)
	tinyTraining(t, func(t *testing.T, k golden.Kit, dev compute.Device, modules []lora.Module, batches []train.Batch) {
		b := batches[0]
		evaluate := func(tr *train.Trainer, b train.Batch) float64 {
			t.Helper()
			loss, err := tr.Evaluate(t.Context(), b)
			skipUnsupported(t, err)
			if err != nil {
				t.Fatal(err)
			}
			return loss
		}
		// differ fails unless two losses are as different or as equal as they should be.
		differ := func(what string, a, b float64, want bool) {
			t.Helper()
			if (a != b) != want {
				t.Errorf("%s: the losses are %v and %v; different: %v, want %v", what, a, b, a != b, want)
			}
		}
		tr := newTrainer(t, k, dev, modules, train.Options{})
		plain := step(t, tr, b)
		differ("a step and an evaluation", plain, evaluate(tr, b), false)
		dropped := b
		dropped.NetworkDropout, dropped.DropoutSeed = 0.5, 3
		for _, m := range modules {
			dropped.Dropout = append(dropped.Dropout, make([]float32, m.Rank()))
		}
		differ("dropout in an evaluation", plain, evaluate(tr, dropped), false)
		differ("dropout in a step", plain, step(t, tr, dropped), true)
		untouched, err := tr.Gradients()
		if err != nil {
			t.Fatal(err)
		}
		evaluate(tr, b)
		tr.SetLossScale(1024)
		differ("an evaluation with a loss scale", plain, evaluate(tr, b), false)
		gradients, err := tr.Gradients()
		if err != nil {
			t.Fatal(err)
		}
		for key, g := range factors(gradients) {
			if !equal(g, factors(untouched)[key]) {
				t.Errorf("an evaluation changes the gradient of %s", key)
			}
		}
		differ("clip_skip 1", plain, evaluate(newTrainer(t, k, dev, modules, train.Options{ClipSkip: 1}), b), false)
		differ("clip_skip 2", plain, evaluate(newTrainer(t, k, dev, modules, train.Options{ClipSkip: 2}), b), true)

		// A network as training starts with it changes nothing: the loss is that of the checkpoint, whatever the modules.
		var base []float64
		for _, n := range []lora.Network{{Dim: 2}, {Dim: 5, Alpha: 1, ConvDim: 3, UNetOnly: true}} {
			fresh, err := n.New(loratest.OpenModel(t, k).Targets, 1)
			if err != nil {
				t.Fatal(err)
			}
			base = append(base, evaluate(newTrainer(t, k, dev, fresh, train.Options{}), b))
		}
		differ("two networks without change", base[0], base[1], false)
		differ("a network without change and one with", base[0], plain, true)
	})
}

// TestTrainerNetworkDropout trains with dropped numbers: equal seeds give equal bits, also with checkpointing, others do not.
func TestTrainerNetworkDropout(t *testing.T) {
	long(t)
	tinyTraining(t, func(t *testing.T, k golden.Kit, dev compute.Device, modules []lora.Module, batches []train.Batch) {
		if _, ok := dev.(*ref.Device); ok {
			t.Skip("slow, and what it looks at is recorded for every device alike")
		}
		run := func(o train.Options, p float64, seed uint64) map[string][]float32 {
			t.Helper()
			tr := newTrainer(t, k, dev, modules, o)
			b := batches[0]
			b.NetworkDropout, b.DropoutSeed = p, seed
			step(t, tr, b)
			g, err := tr.Gradients()
			if err != nil {
				t.Fatal(err)
			}
			return factors(g)
		}
		equals := func(a, b map[string][]float32) bool {
			return maps.EqualFunc(a, b, func(x, y []float32) bool { return equal(x, y) })
		}
		first := run(train.Options{}, 0.3, 1)
		if !equals(first, run(train.Options{}, 0.3, 1)) {
			t.Error("the same seed gives other gradients")
		}
		if !equals(first, run(train.Options{Checkpointing: true}, 0.3, 1)) {
			t.Error("with checkpointing the gradients are others: what is computed anew drops other numbers")
		}
		if equals(first, run(train.Options{}, 0.3, 2)) || equals(first, run(train.Options{}, 0, 1)) {
			t.Error("another seed, or no dropout, gives the same gradients")
		}
	})
}

// TestTrainerLongCaptions trains on captions of three chunks: a batch of two is the mean of two singles, and what the last
// chunk says matters.
func TestTrainerLongCaptions(t *testing.T) {
	long(t)
	tinyTraining(t, func(t *testing.T, k golden.Kit, dev compute.Device, modules []lora.Module, _ []train.Batch) {
		if _, ok := dev.(*ref.Device); ok {
			t.Skip("slow, and what it looks at is recorded for every device alike")
		}
		r := openTraining(t, k, "train", loratest.OpenModel(t, k).Targets)
		pair := r.batch(t, 0)
		short := pair.IDs
		pair.IDs = slices.Concat(short, short, short[:2*77])
		for i := range pair.IDs {
			if i%77 > 0 {
				pair.IDs[i] = (pair.IDs[i]+int32(i/77))%90 + 1
			}
		}
		tr := newTrainer(t, k, dev, modules, train.Options{Accumulation: 2})
		gradients := func(batches ...train.Batch) (loss float64, g map[string][]float32) {
			t.Helper()
			for _, b := range batches {
				loss += step(t, tr, b) / float64(len(batches))
			}
			m, err := tr.Gradients()
			if err != nil {
				t.Fatal(err)
			}
			update(t, tr, train.Rates{})
			return loss, factors(m)
		}
		want, together := gradients(pair)
		loss, alone := gradients(single(pair, 0), single(pair, 1))
		if math.Abs(loss-want) > 1e-6*want {
			t.Errorf("the loss is %v, want %v", loss, want)
		}
		for key, g := range alone {
			for i := range g {
				g[i] /= 2
			}
			if loratest.Largest(together[key]) > negligible {
				golden.Check(t, key, g, golden.Tensor{Float32: together[key]})
			}
		}
		other := pair
		other.IDs = slices.Clone(pair.IDs)
		other.IDs[len(other.IDs)-20]++
		if loss, _ := gradients(other); loss == want {
			t.Error("another token in the last chunk changes nothing")
		}
		bad := pair
		bad.IDs = pair.IDs[:2*78]
		if _, err := tr.Step(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "up to 3 chunks of 77") {
			t.Errorf("captions of 78 tokens give the error %v", err)
		}
	})
}

// TestTrainerFirstLayers looks for gradients in the first layers, which only a walk all the way back reaches.
func TestTrainerFirstLayers(t *testing.T) {
	long(t)
	tinyTraining(t, func(t *testing.T, k golden.Kit, dev compute.Device, _ []lora.Module, batches []train.Batch) {
		modules, err := lora.Network{Dim: 2}.New(loratest.OpenModel(t, k).Targets, 1)
		if err != nil {
			t.Fatal(err)
		}
		tr := newTrainer(t, k, dev, modules, train.Options{Checkpointing: true})
		step(t, tr, batches[0])
		g, err := tr.Gradients()
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"lora_unet_down_blocks_0_attentions_0_proj_in", "lora_te_text_model_encoder_layers_0_self_attn_v_proj"} {
			if s := loratest.Largest(factors(g)[key+".lora_up.weight"]); !(s > negligible) {
				t.Errorf("%s has a gradient up to %g", key, s)
			}
		}
	})
}
