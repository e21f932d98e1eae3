package cuda

import (
	"math"
	"runtime"
	"slices"
	"strconv"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/train"
)

// TestTraining repeats a training of ten steps that PyTorch did in float64, on a simulated card, and compares losses, norms, and the gradients of
// the first two steps by the Euclidean norm.
func TestTraining(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a simulated card takes a minute and a half for the steps")
	}
	if runtime.GOOS == "windows" {
		t.Skip("a minute and a half, for what differs in no way from other systems")
	}
	for precision, test := range map[compute.Precision]struct {
		scale float64 // of losses
		deviations
	}{
		compute.PrecisionFP32: {1, deviations{golden.Tolerance, golden.Tolerance, golden.Tolerance, golden.Tolerance}},
		compute.PrecisionFP16: {1 << 12, deviations{loss: 1e-2, norm: 1e-2, gradients: 1e-2, gradient: 1}}, // some gradients are but rounding
	} {
		t.Run(precision.String(), func(t *testing.T) {
			timed(t)
			k := tinyRandom(t)
			want := k.Load(t, "train")
			trainer, err := train.NewTrainer(device(t, Options{Precision: precision})(t), k.Open(t), goldenModules(t, k, want), train.Options{MaxGradNorm: 1})
			check(t, err)
			defer func() { check(t, trainer.Close()) }()
			trainer.SetLossScale(test.scale)
			var worst deviations
			for i, loss := range want.Tensor(t, "losses").Float32 {
				have, err := trainer.Step(t.Context(), goldenBatch(t, want, i))
				check(t, err)
				norm := want.Tensor(t, "grad_norm."+strconv.Itoa(i)).Float32[0]
				if i < 2 {
					gradients, err := trainer.Gradients()
					check(t, err)
					clip := min(1, 1/(float64(norm)+1e-6)) / test.scale
					each, together := compareGradients(t, gradients, clip, want, "grad."+strconv.Itoa(i)+".")
					worst.gradient, worst.gradients = max(worst.gradient, each), max(worst.gradients, together)
				}
				u, err := trainer.Update(train.Rates{TextEncoder: 5e-4, UNet: 1e-3})
				check(t, err)
				if u.Skipped {
					t.Fatalf("step %d was skipped: its gradients overflow", i)
				}
				worst.loss = max(worst.loss, math.Abs(have/float64(loss)-1))
				worst.norm = max(worst.norm, math.Abs(u.Norm/float64(norm)-1))
			}
			if t.Logf("worst relative errors: %+v", worst); !worst.within(test.deviations) {
				t.Errorf("want at most %+v", test.deviations)
			}
		})
	}
}

// deviations are relative ones of a training: of losses, of the norms of all gradients, of a gradient, and of all together.
type deviations struct{ loss, norm, gradient, gradients float64 }

func (e deviations) within(most deviations) bool {
	return e.loss <= most.loss && e.norm <= most.norm && e.gradient <= most.gradient && e.gradients <= most.gradients
}

// tinyRandom is the kit of the smallest model.
func tinyRandom(t *testing.T) golden.Kit {
	t.Helper()
	for _, kit := range golden.Kits(t) {
		if kit.Name == "tiny-random" {
			return kit
		}
	}
	t.Fatal("there is no tiny model")
	return golden.Kit{}
}

// goldenModules are the modules that a golden training began with.
func goldenModules(t *testing.T, k golden.Kit, want golden.File) (modules []lora.Module) {
	t.Helper()
	targets, err := lora.TargetsOf(k.Open(t))
	check(t, err)
	alpha, err := strconv.ParseFloat(want.Metadata["alpha"], 64)
	check(t, err)
	for _, target := range targets.All() {
		if len(want.Names("init."+target.Key()+".")) == 0 {
			continue
		}
		down, up := want.Tensor(t, "init."+target.Key()+".lora_down.weight"), want.Tensor(t, "final."+target.Key()+".lora_up.weight")
		modules = append(modules, lora.Module{Target: target, Delta: lora.LowRank{
			Down: lora.Factor{Shape: down.Shape, Data: down.Float32}, Up: lora.Factor{Shape: up.Shape, Data: make([]float32, len(up.Float32))}, Alpha: alpha,
		}})
	}
	return modules
}

// goldenBatch is what step i of a golden training learns from.
func goldenBatch(t *testing.T, want golden.File, i int) train.Batch {
	t.Helper()
	n := strconv.Itoa(i)
	z := want.Tensor(t, "latents."+n)
	b := train.Batch{
		Samples: z.Shape[0], Height: z.Shape[2], Width: z.Shape[3],
		Latents: z.ChannelsLast().Float32, Noise: want.Tensor(t, "noise."+n).ChannelsLast().Float32, IDs: want.Tensor(t, "input_ids").Int32(),
	}
	for _, step := range want.Tensor(t, "timesteps."+n).Float32 {
		b.Timesteps = append(b.Timesteps, int(step))
	}
	return b
}

// compareGradients is the largest relative error of a gradient, times a factor, in the Euclidean norm, and that of all together. Those are left
// out that are but rounding, as of queries of an attention to a single key.
func compareGradients(t *testing.T, gradients []lora.Module, factor float64, want golden.File, prefix string) (each, together float64) {
	t.Helper()
	var difference, size float64
	for _, m := range gradients {
		l := m.Delta.(lora.LowRank)
		for part, have := range map[string][]float32{".lora_down.weight": l.Down.Data, ".lora_up.weight": l.Up.Data} {
			g := want.Tensor(t, prefix+m.Key()+part).Float32
			if max(slices.Max(g), -slices.Min(g)) <= 1e-9 {
				continue
			}
			var d, s float64
			for i, w := range g {
				e := factor*float64(have[i]) - float64(w)
				d, s = d+e*e, s+float64(w)*float64(w)
			}
			each = max(each, math.Sqrt(d/s))
			difference, size = difference+d, size+s
		}
	}
	return each, math.Sqrt(difference / size)
}
