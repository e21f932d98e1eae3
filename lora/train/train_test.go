package train_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atelier-go/atelier/lora/internal/loratest"
	"github.com/atelier-go/atelier/lora/train"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/dataset"
	"github.com/atelier-go/atelier/weights"
)

// long leaves a test out with -short: under the race detector a training takes seconds, and what can race is in those that are left.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: trains, or prepares to, again and again")
	}
}

// photos copies three of the sample photos with their captions into a folder of two repeats and returns its parent.
func photos(t *testing.T) string {
	t.Helper()
	parent, from := t.TempDir(), filepath.Join("..", "..", "tinyportrait", "photos", "12_personname man")
	into := filepath.Join(parent, "2_personname man")
	if err := os.Mkdir(into, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"001.jpg", "001.txt", "004.png", "004.txt", "011.webp", "011.txt"} {
		data, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(into, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return parent
}

// trainConfig trains tiny-random on photos in the smallest pictures there are: six uses, three batches an epoch.
func trainConfig(t *testing.T, workers int) train.Config {
	t.Helper()
	dev, err := cpu.Open(cpu.Options{Workers: workers})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	ckpt, err := weights.Open(filepath.Join(loratest.TinyRandom(t), "model"), weights.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ckpt.Close() })
	return train.Config{
		Device: dev, Checkpoint: ckpt,
		Dataset: dataset.Config{
			Sets: []dataset.Set{{Resolution: dataset.Size{W: 64, H: 64}, BatchSize: 2, TrainDataDir: photos(t)}},
			Seed: 42, MaxTrainEpochs: 2, CacheLatents: true,
		},
		Network: lora.Network{Dim: 2, Alpha: 2}, UNetLR: 1e-3, TextEncoderLR: 5e-4, OutputDir: t.TempDir(), OutputName: "x",
		Trainer: train.Options{MaxGradNorm: 1}, LRScheduler: "cosine", LRWarmupSteps: "1",
	}
}

// run trains to the end and shows all events to those who watch.
func run(ctx context.Context, cfg train.Config, watch ...func(train.Event)) error {
	for e, err := range train.Run(ctx, cfg) {
		if err != nil {
			return err
		}
		for _, w := range watch {
			w(e)
		}
	}
	return nil
}

// collect watches for events of a type.
func collect[E train.Event](into *[]E) func(train.Event) {
	return func(e train.Event) {
		if one, ok := e.(E); ok {
			*into = append(*into, one)
		}
	}
}

// tryTrain is run; a device without the ops of training skips the test.
func tryTrain(t *testing.T, cfg train.Config, watch ...func(train.Event)) error {
	t.Helper()
	err := run(t.Context(), cfg, watch...)
	skipUnsupported(t, err)
	return err
}

func mustTrain(t *testing.T, cfg train.Config, watch ...func(train.Event)) *lora.Adapter {
	t.Helper()
	if err := tryTrain(t, cfg, watch...); err != nil {
		t.Fatal(err)
	}
	return openTrained(t, filepath.Join(cfg.OutputDir, cfg.OutputName+".safetensors"))
}

func openTrained(t *testing.T, path string) *lora.Adapter {
	t.Helper()
	a, err := lora.Open(path, loratest.TinyTargets(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Unmatched)+len(a.Ignored) > 0 {
		t.Errorf("%s: unmatched %q, ignored %q", path, a.Unmatched, a.Ignored)
	}
	return a
}

// files lists a folder.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestTrain(t *testing.T) {
	cfg := trainConfig(t, 1)
	cfg.SaveEveryNEpochs, cfg.SaveEveryNSteps = 1, 4
	var steps []train.StepDone
	var saved []train.Saved
	var ends []train.EpochDone
	var latents []train.LatentsCached
	a := mustTrain(t, cfg, collect(&steps), collect(&saved), collect(&ends), collect(&latents))

	if got, want := files(t, cfg.OutputDir), []string{"x-000001.safetensors", "x-step00000004.safetensors", "x.safetensors"}; !slices.Equal(got, want) {
		t.Errorf("files are %q, want %q", got, want)
	}
	if got, want := len(a.Modules), len(loratest.Standard(loratest.TinyTargets(t))); got != want {
		t.Errorf("%d modules are saved, want %d", got, want)
	}
	for _, m := range a.Modules {
		if loratest.Largest(loratest.LowRank(m).Up.Data) == 0 && !strings.Contains(m.Name, "mid_block.attentions.0.transformer_blocks.0.attn1.to_") {
			t.Errorf("%s has learned nothing", m.Name)
		}
	}
	for key, want := range map[string]string{
		"ss_network_dim": "2", "ss_network_alpha": "2.0", "ss_network_module": "networks.lora", "ss_unet_lr": "0.001", "ss_text_encoder_lr": "0.0005",
		"ss_learning_rate": "None", "ss_num_train_images": "6", "ss_num_batches_per_epoch": "3", "ss_num_epochs": "2", "ss_steps": "6", "ss_epoch": "2",
		"ss_resolution": "(64, 64)", "ss_clip_skip": "None", "ss_seed": "42", "ss_lr_scheduler": "cosine", "ss_output_name": "x", "ss_bucket_info": "null",
		"ss_dataset_dirs": `{"2_personname man": {"n_repeats": 2, "img_count": 3}}`, "ss_base_model_version": "sd_v1", "ss_max_grad_norm": "1.0",
		"ss_sd_model_name": "model", "ss_sd_model_hash": "IsADirectory", "modelspec.architecture": "stable-diffusion-v1/lora", "modelspec.resolution": "64x64",
	} {
		if got := a.Metadata[key]; got != want {
			t.Errorf("metadata %q is %q, want %q", key, got, want)
		}
	}

	var names []string
	for _, e := range saved {
		names = append(names, fmt.Sprint(e.Step, " ", e.Epoch, " ", filepath.Base(e.Path)))
	}
	if want := []string{"3 1 x-000001.safetensors", "4 1 x-step00000004.safetensors", "6 2 x.safetensors"}; !slices.Equal(names, want) {
		t.Errorf("saved are %q, want %q", names, want)
	}
	if len(latents) != 3 || len(steps) != 6 || len(ends) != 2 {
		t.Fatalf("%d pictures, %d steps and %d epochs are reported, want 3, 6 and 2", len(latents), len(steps), len(ends))
	}
	if first := steps[0]; first.Rates != (train.Rates{}) || first.Step != 1 || first.Steps != 6 || first.Epoch != 1 || !(first.Norm > 0) {
		t.Errorf("the first step is %+v, want number 1 of 6 with rates 0, its warm-up", first)
	}
	if second := steps[1]; second.Rates != (train.Rates{TextEncoder: 5e-4, UNet: 1e-3}) {
		t.Errorf("the second step has rates %+v, want the whole ones", second.Rates)
	}
	mean := (steps[3].Loss + steps[4].Loss + steps[5].Loss) / 3
	if got := steps[5].AverageLoss; math.Abs(got-mean) > 1e-9 {
		t.Errorf("the average loss is %v, want %v, that of the last epoch", got, mean)
	}
}

// TestTrainDeterministic trains twice with the same seed, on one thread and on three, and once with another.
func TestTrainDeterministic(t *testing.T) {
	first, second := mustTrain(t, trainConfig(t, 1)), mustTrain(t, trainConfig(t, 3))
	if first.Hash != second.Hash {
		t.Errorf("hashes are %s and %s, want the same", first.Hash, second.Hash)
	}
	other := trainConfig(t, 1)
	other.Dataset.Seed++
	if third := mustTrain(t, other); third.Hash == first.Hash {
		t.Error("another seed gives the same file")
	}
}

// TestTrainOptions trains with options that change what is recorded; each must change the result and save a whole file.
func TestTrainOptions(t *testing.T) {
	long(t)
	short := func() train.Config {
		cfg := trainConfig(t, 2)
		cfg.Dataset.MaxTrainEpochs = 1
		return cfg
	}
	plain := mustTrain(t, short())
	for _, c := range []struct {
		name   string
		change func(c *train.Config)
		same   bool // as without
	}{
		{"gradient checkpointing", func(c *train.Config) { c.Trainer.Checkpointing = true }, true},
		{"AdamW8bit", func(c *train.Config) { c.Trainer.OptimizerType = "AdamW8bit" }, true},
		{"latents on disk", func(c *train.Config) { c.Dataset.CacheLatentsToDisk = true }, true},
		{"loss scale", func(c *train.Config) { c.MixedPrecision = "fp16" }, true},
		{"no cache", func(c *train.Config) { c.Dataset.CacheLatents = false }, false},
		{"accumulation", func(c *train.Config) { c.Dataset.GradientAccumulationSteps = 2 }, false},
		{"UNet only", func(c *train.Config) { c.TextEncoderLR = 0 }, false},
		{"text encoder only, clip skip", func(c *train.Config) { c.UNetLR = 0; c.Trainer.ClipSkip = 2 }, false},
		{"weights of the loss", func(c *train.Config) { c.Trainer.MinSNRGamma = 5; c.Trainer.DebiasedEstimation = true }, false},
		{"v-prediction", func(c *train.Config) { c.Trainer.VParameterization = true }, false},
		{"smooth L1", func(c *train.Config) { c.Trainer.Loss = compute.SmoothL1 }, false},
		{"noise", func(c *train.Config) {
			c.Noise = train.Noise{NoiseOffset: 0.1, MultiresNoiseIterations: 3, IPNoiseGamma: 0.1, MinTimestep: 100, MaxTimestep: 900}
		}, false},
		{"flips and masks", func(c *train.Config) {
			c.Dataset.Sets[0].Folder.FlipAug = true
			c.Dataset.Sets[0].Folder.AlphaMask = true
		}, false},
		{"dropout", func(c *train.Config) { c.Network.RankDropout, c.Network.ModuleDropout = 0.2, 0.1 }, false},
		{"LoRA+", func(c *train.Config) { c.Trainer.LoRAPlusRatio = 16 }, false},
		{"network_dropout", func(c *train.Config) { c.Network.Dropout = 0.2 }, false},
		{"max-norm", func(c *train.Config) { c.Trainer.ScaleWeightNorms = 1e-4 }, false},
		{"long captions with dropout", func(c *train.Config) { c.MaxTokenLength, c.Network.RankDropout = 225, 0.2 }, false},
		{"weights of blocks", func(c *train.Config) { c.Network.BlockLRWeight = slices.Repeat([]float64{0.5}, 25) }, false},
		{"Adafactor", func(c *train.Config) { c.Trainer.OptimizerType, c.LRWarmupSteps = "Adafactor", "" }, false},
		{"Prodigy", func(c *train.Config) {
			c.Trainer.OptimizerType, c.UNetLR, c.TextEncoderLR = "Prodigy", 1, 1
			c.Trainer.OptimizerArgs = []string{"decouple=True", "weight_decay=0.01", "d_coef=2"}
		}, false},
		{"rules of steps", func(c *train.Config) {
			c.LRScheduler, c.LRWarmupSteps, c.LRSchedulerArgs = "piecewise_constant", "", []string{"step_rules=1:2,0.1"}
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := short()
			c.change(&cfg)
			a := mustTrain(t, cfg)
			if (a.Hash == plain.Hash) != c.same {
				t.Errorf("the factors equal those without the option: %v, want %v", a.Hash == plain.Hash, c.same)
			}
			if c.name == "latents on disk" {
				if again := mustTrain(t, cfg); again.Hash != a.Hash {
					t.Error("training on the latents that were kept gives another file")
				}
			}
		})
	}
}

// TestTrainParts leaves a network out by its learning rate, and gives both the common one.
func TestTrainParts(t *testing.T) {
	long(t)
	for _, c := range []struct {
		name           string
		lr, text, unet float64
		want           train.Rates
	}{
		{"UNet", 0, 0, 1e-4, train.Rates{UNet: 1e-4}},
		{"both", 1e-4, 0, 0, train.Rates{TextEncoder: 1e-4, UNet: 1e-4}},
	} {
		cfg := trainConfig(t, 1)
		cfg.LearningRate, cfg.TextEncoderLR, cfg.UNetLR = c.lr, c.text, c.unet
		cfg.LRScheduler, cfg.LRWarmupSteps, cfg.Dataset.MaxTrainEpochs = "constant", "", 1
		var steps []train.StepDone
		count := map[weights.Kind]int{}
		for _, m := range mustTrain(t, cfg, collect(&steps)).Modules {
			count[m.Kind]++
		}
		rates := steps[len(steps)-1].Rates
		if rates != c.want || (count[weights.KindTextEncoder] > 0) != (c.want.TextEncoder > 0) || count[weights.KindUNet] == 0 {
			t.Errorf("%s: rates are %+v and modules %v, want rates %+v", c.name, rates, count, c.want)
		}
	}
}

// TestTrainContinued goes on from a file with a learning rate that changes nothing.
func TestTrainContinued(t *testing.T) {
	long(t)
	cfg := trainConfig(t, 2)
	first := mustTrain(t, cfg)
	next := func(change func(c *train.Config)) train.Config {
		c := trainConfig(t, 2)
		c.NetworkWeights, c.UNetLR, c.TextEncoderLR = first.Path, 1e-12, 1e-12
		change(&c)
		return c
	}
	for name, change := range map[string]func(c *train.Config){
		"same rank":        func(c *train.Config) { c.Network.Alpha = 1 }, // the file's alpha counts
		"dim_from_weights": func(c *train.Config) { c.Network.Dim, c.DimFromWeights = 7, true },
	} {
		second := mustTrain(t, next(change))
		if len(second.Modules) != len(first.Modules) {
			t.Fatalf("%s: %d modules, want %d", name, len(second.Modules), len(first.Modules))
		}
		got := factors(second.Modules)
		for key, want := range factors(first.Modules) {
			if d := golden.Compare(got[key], want); loratest.Largest(want) > 0 && d.Relative > 1e-3 { // files are F16
				t.Errorf("%s: %s: %v", name, key, d)
			}
		}
		for i, m := range second.Modules {
			if loratest.LowRank(m).Alpha != loratest.LowRank(first.Modules[i]).Alpha {
				t.Errorf("%s: %s has alpha %v, want the file's, %v", name, m.Key(), loratest.LowRank(m).Alpha, loratest.LowRank(first.Modules[i]).Alpha)
			}
		}
	}
	err := run(t.Context(), next(func(c *train.Config) { c.Network.Dim = 3 }))
	if err == nil || !strings.Contains(err.Error(), "has rank 2, the network 3; set Config.Network.Dim") {
		t.Errorf("another rank gives %v", err)
	}
}

// TestTrainInterrupted stops a training after its second step.
func TestTrainInterrupted(t *testing.T) {
	cfg := trainConfig(t, 2)
	reason := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	err := run(ctx, cfg, atStep(2, func() { cancel(reason) }))
	skipUnsupported(t, err)
	var stop *train.InterruptedError
	if !errors.As(err, &stop) || !errors.Is(err, reason) || stop.Step != 2 || stop.Steps != 6 {
		t.Fatalf("the error is %v, want an InterruptedError after step 2 of 6", err)
	}
	want := []string{"x-step00000002-state", "x-step00000002.safetensors"}
	if got := files(t, cfg.OutputDir); !slices.Equal(got, want) || filepath.Base(stop.Path) != want[1] || filepath.Base(stop.State) != want[0] {
		t.Errorf("files are %q, the error names %q and %q; want %q", got, stop.Path, stop.State, want)
	}
	if say := "after step 2 of 6, what was learned is in " + stop.Path + "; to go on, train with the same options and resume " + stop.State + ": enough"; !strings.Contains(err.Error(), say) {
		t.Errorf("the error is %v\nwant %s in it", err, say)
	}
	if a := openTrained(t, stop.Path); a.Metadata["ss_steps"] != "2" || a.Metadata["ss_epoch"] != "0" {
		t.Errorf("the file is of step %s and epoch %s, want 2 and 0", a.Metadata["ss_steps"], a.Metadata["ss_epoch"])
	}

	cfg = trainConfig(t, 2)
	if err := run(ctx, cfg); !errors.Is(err, reason) {
		t.Errorf("training with a context that is done gives %v", err)
	}
	if got := files(t, cfg.OutputDir); len(got) > 0 {
		t.Errorf("it writes %q", got)
	}
}

// TestTrainLeft leaves the loop: the training stops and saves as if it had been interrupted, and goes on to the same file.
func TestTrainLeft(t *testing.T) {
	long(t)
	whole := trainConfig(t, 2)
	mustTrain(t, whole)
	for _, c := range []struct {
		name  string
		leave func(e train.Event) bool
		files []string
	}{
		{"before anything", func(e train.Event) bool { return true }, nil},
		{"while pictures are encoded", func(e train.Event) bool { _, ok := e.(train.LatentsCached); return ok }, nil},
		{"after a step", func(e train.Event) bool { s, ok := e.(train.StepDone); return ok && s.Step == 2 }, []string{"x-step00000002-state", "x-step00000002.safetensors"}},
		{"after an epoch", func(e train.Event) bool { _, ok := e.(train.EpochDone); return ok }, []string{"x-step00000003-state", "x-step00000003.safetensors"}},
		{"after the last file", func(e train.Event) bool { _, ok := e.(train.Saved); return ok }, []string{"x.safetensors"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := trainConfig(t, 2)
			cfg.Logging = train.Logging{Dir: t.TempDir()}
			for e, err := range train.Run(t.Context(), cfg) {
				if err != nil {
					t.Fatal(err)
				}
				if c.leave(e) {
					break
				}
			}
			if got := files(t, cfg.OutputDir); !slices.Equal(got, c.files) {
				t.Errorf("files are %q, want %q", got, c.files)
			}
			if len(c.files) < 2 {
				return
			}
			cfg.Resume, cfg.OutputDir = filepath.Join(cfg.OutputDir, c.files[0]), t.TempDir()
			mustTrain(t, cfg)
			sameFile(t, filepath.Join(cfg.OutputDir, "x.safetensors"), filepath.Join(whole.OutputDir, "x.safetensors"))
		})
	}
}

// TestTrainPanics has the loop panic: what the training holds is given back, so that another can save there.
func TestTrainPanics(t *testing.T) {
	cfg := trainConfig(t, 1)
	func() {
		defer func() {
			if recover() != "loop" {
				t.Error("the panic of the loop is lost")
			}
		}()
		for range train.Run(t.Context(), cfg) {
			panic("loop")
		}
	}()
	mustTrain(t, cfg)
}

// TestConfigJSON keeps a configuration as JSON.
func TestConfigJSON(t *testing.T) {
	cfg := trainConfig(t, 1)
	cfg.Device, cfg.Checkpoint = nil, nil
	cfg.Noise.NoiseOffset, cfg.Trainer.MinSNRGamma, cfg.AutosaveEvery, cfg.SavePrecision = 0.1, 5, time.Minute, compute.BF16
	data, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var again train.Config
	if err := json.Unmarshal(data, &again); err != nil || !reflect.DeepEqual(again, cfg) {
		t.Errorf("%s\nbecomes %+v, %v\nwant    %+v", data, again, err, cfg)
	}
}

func TestTrainErrors(t *testing.T) {
	long(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(c *train.Config)
		say    string
	}{
		{"no device", func(c *train.Config) { c.Device = nil }, "needs a device"},
		{"rate that is none", func(c *train.Config) { c.UNetLR = math.NaN() }, "Config.UNetLR is NaN"},
		{"no rates", func(c *train.Config) { c.UNetLR, c.TextEncoderLR = 0, 0 }, "Config.LearningRate is 0, want a number"},
		{"negative rank", func(c *train.Config) { c.Network.Dim = -1 }, "Config.Network.Dim is -1"},
		{"optimizer", func(c *train.Config) { c.Trainer.OptimizerType = "SGD" }, `Config.Trainer.OptimizerType is "SGD", want one of AdamW`},
		{"schedule", func(c *train.Config) { c.LRScheduler = "sine" }, `Config.LRScheduler is "sine"`},
		{"warm-up", func(c *train.Config) { c.LRWarmupSteps = "1.5" }, "Config.LRWarmupSteps"},
		{"precision", func(c *train.Config) { c.MixedPrecision = "fp8" }, `Config.MixedPrecision is "fp8"`},
		{"save precision", func(c *train.Config) { c.SavePrecision = compute.I32 }, "Config.SavePrecision is I32"},
		{"timesteps", func(c *train.Config) { c.Noise.MaxTimestep = 1001 }, "Config.Noise.MaxTimestep is 1001"},
		{"no folder", func(c *train.Config) { c.OutputDir = "" }, "Config.OutputDir, want the folder to save in"},
		{"folder that is a file", func(c *train.Config) { c.OutputDir = file }, "Config.OutputDir is "},
		{"name with a folder", func(c *train.Config) { c.OutputName = "a/b" }, `Config.OutputName is "a/b"`},
		{"no pictures", func(c *train.Config) { c.Dataset.Sets[0].TrainDataDir = t.TempDir() }, "pictures belong into folders"},
		{"nothing to take ranks from", func(c *train.Config) { c.DimFromWeights = true }, "Config.NetworkWeights, want the file to continue from"},
		{"no file to continue from", func(c *train.Config) { c.NetworkWeights = file + "x" }, "Config.NetworkWeights: "},
		{"betas", func(c *train.Config) { c.Trainer.OptimizerArgs = []string{"betas=(2,0.999)"} }, "want numbers from 0 to 1"},
		{"negative numbers", func(c *train.Config) { c.SaveNEpochRatio, c.SaveLastNStepsState = -1, -2 }, "Config.SaveNEpochRatio is -1, want a number from 0\nConfig.SaveLastNStepsState is -2"},
		{"samples of nothing", func(c *train.Config) { c.SampleEveryNSteps = 1 }, "Config.SamplePrompts, want the file of prompts"},
		{"prompts that are not there", func(c *train.Config) {
			c.SampleEveryNSteps, c.SamplePrompts = 1, filepath.Join(c.OutputDir, "nowhere.txt")
		}, "nowhere.txt"},
		{"prompts that are a folder", func(c *train.Config) { c.SampleEveryNSteps, c.SamplePrompts = 1, c.OutputDir }, "no regular file"},
		{"prompts that are none", func(c *train.Config) { c.SampleEveryNSteps, c.SamplePrompts = 1, file }, "want .txt, .toml or .json"},
		{"sampler", func(c *train.Config) { c.SampleEveryNEpochs, c.SampleSampler = 1, "magic" }, "Config.SampleSampler: "},
		{"prompts of no size", func(c *train.Config) {
			c.SampleEveryNSteps, c.SamplePrompts = 1, filepath.Join(t.TempDir(), "prompts.txt")
			replaceFile(t, c.SamplePrompts, "a cat\na dog --w 8192 --h 64 --l 2000")
		}, "Config.SamplePrompts: prompt 2: sd: Request.Width is 8192, want a multiple of 8 from 8 to 4096 pixels\nRequest.Guidance is 2000"},
		{"Prodigy of two rates", func(c *train.Config) { c.Trainer.OptimizerType, c.UNetLR, c.TextEncoderLR = "Prodigy", 1, 0.5 }, "one learning rate for everything"},
		{"Adafactor with warm-up", func(c *train.Config) { c.Trainer.OptimizerType = "Adafactor" }, "Adafactor with relative_step has no warm-up"},
		{"Adafactor's schedule", func(c *train.Config) { c.LRScheduler, c.LRWarmupSteps = "adafactor", "" }, `Config.LRScheduler is "adafactor", want another`},
		{"Adafactor's arguments", func(c *train.Config) {
			c.Trainer.OptimizerType, c.Trainer.OptimizerArgs = "Adafactor", []string{"relative_step=False", "warmup_init=True"}
		}, `"warmup_init=True", want relative_step=True`},
		{"rules of steps", func(c *train.Config) { c.LRSchedulerArgs = []string{"T_max=3"} }, `Config.LRSchedulerArgs is "T_max=3"`},
		{"captions too long", func(c *train.Config) { c.MaxTokenLength = 300 }, "Config.MaxTokenLength is 300"},
		{"weights of blocks", func(c *train.Config) { c.Network.BlockLRWeight = slices.Repeat([]float64{1}, 3) }, "Config.Network.BlockLRWeight, want 25 values, not 3"},
		{"max-norm", func(c *train.Config) { c.Trainer.ScaleWeightNorms = math.NaN() }, "Config.Trainer.ScaleWeightNorms is NaN"},
		{"norm", func(c *train.Config) { c.Trainer.MaxGradNorm = -1 }, "Config.Trainer.MaxGradNorm is -1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := trainConfig(t, 1)
			c.change(&cfg)
			if err := run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), c.say) {
				t.Errorf("the error is %v\nwant %q in it", err, c.say)
			}
		})
	}
}
