package train_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/lora/internal/loratest"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/ref"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/internal/optim"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/weights"
)

// TestCheckRates refuses learning rates that differ where an optimizer has one for everything.
func TestCheckRates(t *testing.T) {
	steps := slices.Repeat([]float64{1}, 25)
	steps[0] = 0.5 // has no layer
	half := slices.Repeat([]float64{1}, 25)
	half[5] = 0.5
	zero := slices.Repeat([]float64{1}, 25)
	zero[5] = 0
	for _, c := range []struct {
		name  string
		o     train.Options
		rates train.Rates
		say   string // "" for no error
	}{
		{"AdamW", train.Options{LoRAPlusRatio: 16, BlockLRWeight: half}, train.Rates{TextEncoder: 5e-5, UNet: 1e-4}, ""},
		{"Prodigy of two rates", train.Options{OptimizerType: "Prodigy"}, train.Rates{TextEncoder: 0.5, UNet: 1},
			`Options.OptimizerType is "Prodigy", want another, or one learning rate for everything: that of the text encoder is 0.5, of the UNet 1, and that of unet would be 1; make them equal`},
		{"Prodigy of one rate", train.Options{OptimizerType: "Prodigy", BlockLRWeight: steps}, train.Rates{TextEncoder: 1, UNet: 1}, ""},
		{"Prodigy of the UNet", train.Options{OptimizerType: "Prodigy", BlockLRWeight: zero}, train.Rates{UNet: 1}, ""},
		{"Prodigy with LoRA+", train.Options{OptimizerType: "Prodigy", LoRAPlusRatio: 2}, train.Rates{UNet: 1}, `that of unet plus would be 2`},
		{"Prodigy with LoRA+ elsewhere", train.Options{OptimizerType: "Prodigy", LoRAPlusTextEncoderRatio: 2}, train.Rates{UNet: 1}, ""},
		{"DAdaptAdam with blocks", train.Options{OptimizerType: "dadaptadam", BlockLRWeight: half}, train.Rates{UNet: 1}, `that of unet_block5 would be 0.5`},
		{"unknown, which Check reports", train.Options{OptimizerType: "SGD"}, train.Rates{}, ""},
	} {
		err := c.o.CheckRates(c.rates)
		if c.say == "" && err != nil || c.say != "" && (err == nil || !strings.Contains(err.Error(), c.say)) {
			t.Errorf("%s: the error is %v\nwant %q in it", c.name, err, c.say)
		}
	}
}

func TestNotes(t *testing.T) {
	for _, c := range []struct {
		o    train.Options
		rate float64
		say  string
	}{
		{train.Options{}, 1e-4, ""},
		{train.Options{OptimizerType: "AdamW8bit"}, 1e-4, "AdamW8bit runs as AdamW"},
		{train.Options{OptimizerType: "Prodigy"}, 0.1, "0.1 is too low for Prodigy"},
		{train.Options{OptimizerType: "Prodigy"}, 1, ""},
		{train.Options{OptimizerType: "Adafactor"}, 1e-4, "of its own"},
		{train.Options{OptimizerType: "Adafactor", OptimizerArgs: []string{"relative_step=False"}}, 1e-4, ""},
	} {
		got := strings.Join(c.o.Notes(train.Rates{UNet: c.rate}), "\n")
		if (got == "") != (c.say == "") || !strings.Contains(got, c.say) {
			t.Errorf("%s at %v has the notes %q, want %q in them", c.o.OptimizerType, c.rate, got, c.say)
		}
	}
}

// TestGroupRates looks at the learning rates of LoRA+ and of blocks.
func TestGroupRates(t *testing.T) {
	tinyTraining(t, func(t *testing.T, k golden.Kit, dev compute.Device, _ []lora.Module, _ []train.Batch) {
		all, err := lora.Network{Dim: 1}.New(loratest.OpenModel(t, k).Targets, 1)
		if err != nil {
			t.Fatal(err)
		}
		var modules []lora.Module
		for _, m := range all {
			if m.Kind == weights.KindTextEncoder && len(modules) == 0 || m.Name == "mid_block.attentions.0.proj_in" || m.Name == "up_blocks.3.attentions.2.proj_in" {
				modules = append(modules, m)
			}
		}
		blocks := slices.Repeat([]float64{1}, 25)
		blocks[12], blocks[24] = 0.5, 0.25
		for _, c := range []struct {
			name string
			o    train.Options
			want map[string]float64
		}{
			{"plain", train.Options{}, map[string]float64{"textencoder": 5e-5, "unet": 1e-4}},
			{"LoRA+", train.Options{LoRAPlusRatio: 16}, map[string]float64{"textencoder": 5e-5, "textencoder plus": 8e-4, "unet": 1e-4, "unet plus": 1.6e-3}},
			{"LoRA+ of networks", train.Options{LoRAPlusRatio: 16, LoRAPlusUNetRatio: 4, LoRAPlusTextEncoderRatio: 2},
				map[string]float64{"textencoder": 5e-5, "textencoder plus": 1e-4, "unet": 1e-4, "unet plus": 4e-4}},
			{"LoRA+ of the UNet", train.Options{LoRAPlusUNetRatio: 4}, map[string]float64{"textencoder": 5e-5, "unet": 1e-4, "unet plus": 4e-4}},
			{"blocks", train.Options{BlockLRWeight: blocks}, map[string]float64{"textencoder": 5e-5, "unet_block12": 5e-5, "unet_block24": 2.5e-5}},
			{"both", train.Options{BlockLRWeight: blocks, LoRAPlusUNetRatio: 4}, map[string]float64{
				"textencoder": 5e-5, "unet_block12": 5e-5, "unet_block12 plus": 2e-4, "unet_block24": 2.5e-5, "unet_block24 plus": 1e-4,
			}},
		} {
			got := newTrainer(t, k, dev, modules, c.o).GroupRates(train.Rates{TextEncoder: 5e-5, UNet: 1e-4})
			if len(got) != len(c.want) {
				t.Errorf("%s: groups are %v, want %v", c.name, got, c.want)
			}
			for _, g := range got {
				if want := c.want[g.Name]; math.Abs(g.Rate-want) > 1e-9 {
					t.Errorf("%s: %q learns at %v, want %v", c.name, g.Name, g.Rate, want)
				}
			}
		}
	})
}

// TestUpdateGroups compares the first steps of factors with their groups' learning rates: AdamW's first step has the
// length of the rate, but for weight decay.
func TestUpdateGroups(t *testing.T) {
	long(t)
	tinyTraining(t, func(t *testing.T, k golden.Kit, dev compute.Device, modules []lora.Module, batches []train.Batch) {
		blocks := slices.Repeat([]float64{0.5}, 25)
		tr := newTrainer(t, k, dev, modules, train.Options{OptimizerArgs: []string{"weight_decay=0"}, LoRAPlusUNetRatio: 4, BlockLRWeight: blocks})
		before := factors(modules)
		step(t, tr, batches[0])
		update(t, tr, train.Rates{TextEncoder: 1e-3, UNet: 4e-3})
		after, err := tr.Modules()
		if err != nil {
			t.Fatal(err)
		}
		for key, now := range factors(after) {
			want := 1e-3
			if strings.HasPrefix(key, "lora_unet") {
				if want = 2e-3; strings.HasSuffix(key, "lora_up.weight") {
					want = 8e-3
				}
			}
			longest := 0.0
			for i, v := range now {
				longest = max(longest, math.Abs(float64(v)-float64(before[key][i])))
			}
			if longest > want*1.001 || longest < want*0.99 && longest > want*1e-3 { // a gradient that is nearly 0 may make none
				t.Errorf("%s moves by %g, want %g", key, longest, want)
			}
		}
	})
}

// TestUpdateRates refuses at the update what CheckRates refuses before.
func TestUpdateRates(t *testing.T) {
	long(t)
	tinyTraining(t, func(t *testing.T, k golden.Kit, dev compute.Device, modules []lora.Module, batches []train.Batch) {
		tr := newTrainer(t, k, dev, modules, train.Options{OptimizerType: "Prodigy"})
		step(t, tr, batches[0])
		if _, err := tr.Update(train.Rates{TextEncoder: 0.5, UNet: 1}); err == nil || !strings.Contains(err.Error(), "one learning rate for everything") {
			t.Errorf("an update of two rates gives the error %v", err)
		}
		if u := update(t, tr, train.Rates{TextEncoder: 1, UNet: 1}); u.D != 1e-6 {
			t.Errorf("after a step d is %v, want 1e-6", u.D)
		}
	})
}

// TestAdamWFirstStep runs the op with the defaults of the options, from 0.5 with a gradient of 0.1 at a rate of 1e-4.
func TestAdamWFirstStep(t *testing.T) {
	choice, err := optim.Choose("AdamW", nil)
	if err != nil {
		t.Fatal(err)
	}
	o := choice.AdamW
	var b compute.Builder
	in := func(name string, shape ...int) compute.Value { return b.Input(name, compute.F32, shape...) }
	b.Output(b.Op(compute.AdamW{Parameter: in("p", 1), Gradient: in("g", 1), M: in("m", 1), V: in("v", 1), Hyper: in("hyper", 1, 7)}))
	p, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	hyper := []float64{1e-4, 1 - o.Beta1, 1 - o.Beta2, o.Eps, o.WeightDecay, 1 - o.Beta1, 1 - o.Beta2}
	out, err := ref.Evaluate(p, nil, []float64{0.5}, []float64{0.1}, []float64{0}, []float64{0}, hyper)
	if err != nil {
		t.Fatal(err)
	}
	if got := out[0].([]float64)[0]; math.Abs(got-0.4998995) > 1e-9 {
		t.Errorf("it moves to %.9f, want 0.499899500", got)
	}
}

// TestLogGroups looks for what optimizers and options add to the log of each step.
func TestLogGroups(t *testing.T) {
	long(t)
	for _, c := range []struct {
		name   string
		change func(c *train.Config)
		tags   []string
	}{
		{"Prodigy and max-norm", func(c *train.Config) {
			c.Trainer.OptimizerType, c.UNetLR, c.TextEncoderLR, c.Trainer.ScaleWeightNorms = "Prodigy", 1, 1, 1
		}, []string{"lr/textencoder", "lr/unet", "lr/d*lr/textencoder", "lr/d*lr/unet", "max_norm/keys_scaled", "max_norm/max_key_norm", "norm/avg_key_norm"}},
		{"LoRA+ of blocks", func(c *train.Config) {
			c.Trainer.LoRAPlusUNetRatio, c.Network.BlockLRWeight = 4, slices.Repeat([]float64{0.5}, 25)
			c.TextEncoderLR = 0
		}, []string{"lr/unet_block12", "lr/unet_block24 plus"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := trainConfig(t, 2)
			cfg.Dataset.MaxTrainEpochs, cfg.LRScheduler, cfg.LRWarmupSteps = 1, "constant", ""
			cfg.Logging = train.Logging{Dir: t.TempDir(), With: "json"}
			c.change(&cfg)
			mustTrain(t, cfg)
			found, err := filepath.Glob(filepath.Join(cfg.Logging.Dir, "*", "network_train", "log.jsonl"))
			if err != nil || len(found) != 1 {
				t.Fatalf("the logs are %q, %v", found, err)
			}
			text, err := os.ReadFile(found[0])
			if err != nil {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(string(text), "\n")
			var line map[string]any
			if err := json.Unmarshal([]byte(first), &line); err != nil {
				t.Fatal(err)
			}
			for _, tag := range c.tags {
				if _, ok := line[tag].(float64); !ok {
					t.Errorf("%q is not in the line %s", tag, first)
				}
			}
			if _, ok := line["lr/textencoder"]; ok != (cfg.TextEncoderLR > 0) {
				t.Errorf("the text encoder's rate is in the line: %v, want %v", ok, cfg.TextEncoderLR > 0)
			}
		})
	}
}
