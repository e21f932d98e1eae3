package train_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/weights"
)

// reported is the report of a training, which is not done.
func reported(t *testing.T, cfg train.Config) train.Report {
	t.Helper()
	for e, err := range train.Run(t.Context(), cfg) {
		if err != nil {
			skipUnsupported(t, err)
			t.Fatal(err)
		}
		return e.(train.Started).Report
	}
	return train.Report{}
}

// TestPitfalls wants one warning for each option that is seldom meant, and none for others.
func TestPitfalls(t *testing.T) {
	long(t)
	for _, c := range []struct {
		name   string
		change func(c *train.Config)
		say    string // "" for no warning
	}{
		{"nothing", func(c *train.Config) {}, ""},
		{"Prodigy that hardly learns", func(c *train.Config) {
			c.Trainer.OptimizerType, c.UNetLR, c.TextEncoderLR = "Prodigy", 1e-4, 1e-4
		}, "0.0001 is too low for Prodigy"},
		{"Prodigy", func(c *train.Config) { c.Trainer.OptimizerType, c.UNetLR, c.TextEncoderLR = "Prodigy", 1, 1 }, ""},
		{"8 bits", func(c *train.Config) { c.Trainer.OptimizerType = "AdamW8bit" }, "AdamW8bit runs as AdamW"},
		{"relative steps", func(c *train.Config) { c.Trainer.OptimizerType, c.LRWarmupSteps = "Adafactor", "" }, "Adafactor with relative_step has learning rates"},
		{"warm-up without an end", func(c *train.Config) { c.LRWarmupSteps = "100" }, "a warm-up of 100 steps, but the training has 6: learning rates come to 5 %"},
		{"warm-up of all steps", func(c *train.Config) { c.LRWarmupSteps = "100%" }, "a warm-up of 6 steps"},
		{"warm-up of all steps but one", func(c *train.Config) { c.LRWarmupSteps = "5" }, ""},
		{"warm-up that is none", func(c *train.Config) { c.LRScheduler = "constant" }, "Config.LRWarmupSteps 1 is ignored"},
		{"warm-up into the decay", func(c *train.Config) {
			c.LRScheduler, c.LRWarmupSteps, c.LRDecaySteps = "warmup_stable_decay", "3", "4"
		}, "make 3 and 4 steps, but the training has 6"},
		{"zero SNR of a model of noise", func(c *train.Config) { c.Trainer.ZeroTerminalSNR = true }, "Config.Trainer.ZeroTerminalSNR without Config.Trainer.VParameterization"},
		{"zero SNR of a model of v", func(c *train.Config) { c.Trainer.ZeroTerminalSNR, c.Trainer.VParameterization = true, true }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := trainConfig(t, 1)
			c.change(&cfg)
			got := reported(t, cfg).Warnings
			if c.say == "" && len(got) > 0 || c.say != "" && (len(got) != 1 || !strings.Contains(got[0], c.say)) {
				t.Errorf("warnings are %q, want %q", got, c.say)
			}
		})
	}
}

// TestLongCaptions has a caption of more tokens than are learned of it, so that the prefix makes another one too long.
func TestLongCaptions(t *testing.T) {
	long(t)
	for _, c := range []struct {
		tokens, most int // of the caption, and that are learned
		prefix       string
		warning      string
	}{
		{100, 0, "", "captions of 1 pictures are longer than the 75 tokens that are learned, the longest, of %s, has 100: what is beyond is not learned; shorten them, or raise Config.MaxTokenLength, 225 at most"},
		{75, 0, "", ""},
		{75, 0, "red", "captions of 1 pictures are longer than the 75 tokens"},
		{100, 150, "", ""},
		{400, 225, "", "are longer than the 225 tokens that are learned, the longest, of %s, has 400: what is beyond is not learned; shorten them"},
	} {
		cfg := trainConfig(t, 1)
		folder := filepath.Join(cfg.Dataset.Sets[0].TrainDataDir, "2_personname man")
		cfg.MaxTokenLength, cfg.Dataset.Sets[0].Folder.Prefix = c.most, c.prefix
		replaceFile(t, filepath.Join(folder, "001.txt"), "first"+strings.Repeat(" dog", c.tokens-2)+" last")
		report := reported(t, cfg)
		if c.warning == "" && len(report.Warnings) > 0 {
			t.Errorf("%+v: warnings are %q", c, report.Warnings)
		}
		if c.warning == "" {
			continue
		}
		want := strings.ReplaceAll(c.warning, "%s", filepath.Join(folder, "001.jpg"))
		if len(report.Warnings) != 1 || !strings.Contains(report.Warnings[0], want) {
			t.Errorf("%+v: warnings are %q\nwant %q", c, report.Warnings, want)
		}
		learned := max(75, c.most) - len(strings.Fields(c.prefix))
		if got := strings.Fields(report.Dataset.FirstCaption); len(got) != max(75, c.most) || slices.Contains(got, "last") {
			t.Errorf("%+v: the report shows %d words, want the %d that are learned: %q", c, len(got), learned, got)
		}
	}
}

// TestContinuedInPart goes on from files that have more, and less, than the network.
func TestContinuedInPart(t *testing.T) {
	long(t)
	locon := trainConfig(t, 1)
	locon.Network.ConvDim, locon.Dataset.MaxTrainEpochs = 2, 1
	whole := mustTrain(t, locon)
	attention, convolutions, text := 0, 0, 0
	for i := range whole.Modules {
		switch m := &whole.Modules[i]; {
		case m.Kind == weights.KindTextEncoder:
			text++
		case strings.Contains(m.Name, ".attentions."):
			attention++
		default:
			convolutions++
		}
	}
	few := filepath.Join(t.TempDir(), "few.safetensors")
	if err := lora.Write(few, whole.Modules[:2], compute.F32, nil); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(t.TempDir(), "foreign.safetensors")
	addTensors(t, few, foreign, "lora_unet_nowhere.lora_down.weight", "bundle_emb.x.string_to_param.*")
	for _, c := range []struct {
		name   string
		change func(c *train.Config)
		say    []string
	}{
		{"all of it", func(c *train.Config) { c.NetworkWeights, c.Network.ConvDim = whole.Path, 2 }, nil},
		{"without convolutions", func(c *train.Config) { c.NetworkWeights = whole.Path },
			[]string{fmt.Sprintf("%d modules are left out, for the network that is trained has none there", convolutions)}},
		{"UNet only", func(c *train.Config) {
			c.NetworkWeights, c.Network.UNetOnly, c.TextEncoderLR, c.Network.ConvDim = whole.Path, true, 0, 2
		},
			[]string{fmt.Sprintf("%d modules of a network that is not trained", text)}},
		{"UNet only, exactly", func(c *train.Config) { c.NetworkWeights, c.TextEncoderLR, c.DimFromWeights = whole.Path, 0, true },
			[]string{fmt.Sprintf("%d modules of a network that is not trained", text)}},
		{"exactly", func(c *train.Config) { c.NetworkWeights, c.DimFromWeights = whole.Path, true }, nil},
		{"a part", func(c *train.Config) { c.NetworkWeights = few }, []string{fmt.Sprintf("%d modules of the network are not in it and begin anew", attention+text-2)}},
		{"what is of no use", func(c *train.Config) { c.NetworkWeights, c.DimFromWeights = foreign, true },
			[]string{"1 tensors are of no module that this model has: lora_unet_nowhere.lora_down.weight", "1 tensors are no part of a LoRA: bundle_emb.x.string_to_param.*"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := trainConfig(t, 1)
			c.change(&cfg)
			got := reported(t, cfg).Warnings
			if len(got) != len(c.say) {
				t.Fatalf("warnings are %q, want %q", got, c.say)
			}
			for i, say := range c.say {
				named, _ := strings.CutPrefix(got[i], got[i][:strings.LastIndex(got[i], ": ")+2])
				if !strings.Contains(got[i], say) || !strings.HasPrefix(say, fmt.Sprint(len(strings.Split(named, ", ")))) {
					t.Errorf("warning %d is %q, want %q and all names", i, got[i], say)
				}
			}
		})
	}
}

// addTensors writes a copy of a file with further tensors of one number.
func addTensors(t *testing.T, from, to string, names ...string) {
	t.Helper()
	f := openFile(t, from)
	var tensors []weights.Tensor
	for _, name := range f.Names() {
		x, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, x)
	}
	for _, name := range names {
		tensors = append(tensors, weights.Tensor{Name: name, DType: weights.F32, Shape: compute.Shape{1}, Data: make([]byte, 4)})
	}
	if err := weights.Write(to, tensors, nil); err != nil {
		t.Fatal(err)
	}
}

// TestLeftovers begins a training where another was killed while it saved a state.
func TestLeftovers(t *testing.T) {
	cfg := trainConfig(t, 1)
	left := filepath.Join(cfg.OutputDir, ".x-step00000004-state.0123456789ab")
	if err := os.MkdirAll(left, 0o777); err != nil {
		t.Fatal(err)
	}
	reported(t, cfg)
	if got := files(t, cfg.OutputDir); len(got) > 0 {
		t.Errorf("%q is left", got)
	}
}
