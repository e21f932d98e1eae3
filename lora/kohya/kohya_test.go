package kohya

import (
	"cmp"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/dataset"
	"github.com/atelier-go/atelier/lora/train"
)

// samples are values of options for which their kind does not suggest one.
var samples = map[string][]string{
	"resolution": {"640,768"}, "network_module": {"networks.lora"}, "face_crop_aug_range": {"2.5,3.5"},
	"mixed_precision": {"bf16"}, "huber_schedule": {"constant"}, "loss_type": {"smooth_l1"}, "save_precision": {"bf16"},
	"save_model_as": {"safetensors"}, "defaults": {"recipe"}, "text_encoder_lr": {"5"}, "network_args": {"conv_dim=4"}, "optimizer_args": {"a=5"}, "lr_scheduler_args": {"a=5"}, "max_token_length": {"150"}, "caption_extension": {".txt"}, "resize_interpolation": {"box"},
}

func sample(o option) []string {
	if v, ok := samples[o.name]; ok {
		return v
	}
	switch o.kind.class {
	case isSwitch:
		return []string{"true"}
	case isNumber:
		return []string{"5"}
	case isList:
		return []string{"a=5"}
	}
	return []string{"some text"}
}

// TestTable sets every option there is, one by one: exactly one field changes, nobody else's, and it holds what was said.
func TestTable(t *testing.T) {
	owner := make(map[string]string)
	names := make(map[string]bool)
	for _, g := range table {
		for _, o := range g.options {
			if names[o.name] {
				t.Errorf("%s is in the table twice", o.name)
			}
			names[o.name] = true
			var s settings
			value := sample(o)
			err := o.put(&s, value)
			if o.kind.class == isRefused {
				if err == nil {
					err = o.put(&s, []string{"true"})
				}
				if err == nil {
					t.Errorf("%s is not refused", o.name)
				}
				continue
			}
			if o.kind.class == isIdle {
				if err := o.put(&s, []string{"1"}); err != nil {
					t.Errorf("%s: %v", o.name, err)
				}
				if changed := leaves(s); len(changed) > 0 {
					t.Errorf("%s, which does nothing, sets %v", o.name, changed)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s = %q: %v", o.name, value, err)
				continue
			}
			if o.help == "" {
				t.Errorf("%s has no help", o.name)
			}
			changed := leaves(s)
			if o.field == "" {
				if len(changed) > 0 {
					t.Errorf("%s, which is asked for, sets %v", o.name, changed)
				}
				continue
			}
			if len(changed) != 1 {
				t.Errorf("%s = %q sets %d fields, want one: %v", o.name, value, len(changed), changed)
			}
			for field, have := range changed {
				if other := owner[field]; other != "" {
					t.Errorf("%s and %s both set %s", o.name, other, field)
				}
				owner[field] = o.name
				want := map[string]string{"resolution": "{640 768}", "face_crop_aug_range": "[2.5 3.5]", "loss_type": "SmoothL1", "save_precision": "BF16", "network_args": "[conv_dim=4]", "optimizer_args": "[a=5]", "lr_scheduler_args": "[a=5]", "autosave_every_n_minutes": "5m0s"}[o.name]
				if want == "" {
					want = value[0]
				}
				if have != want {
					t.Errorf("%s = %q: %s is %s, want %s", o.name, value, field, have, want)
				}
			}
			if o.unset != "" {
				if err := o.put(new(settings), []string{o.unset}); err != nil {
					t.Errorf("the default of %s: %v", o.name, err)
				}
			}
		}
	}
	for name := range recipe {
		if !names[name] {
			t.Errorf("the recipe has %s, the table does not", name)
		}
	}
	for _, a := range networkArguments {
		var s settings
		if err := a.put(&s, []string{"5"}); err != nil || len(leaves(s)) != 1 {
			t.Errorf("network_args %s=5: %v, sets %v", a.name, err, leaves(s))
		}
	}
}

// leaves are the fields of settings that are not zero, by path. Sizes, ranges and lists count as one.
func leaves(s settings) map[string]string {
	found := make(map[string]string)
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		if v.IsZero() {
			return
		}
		if v.Kind() == reflect.Pointer && v.Elem().Kind() != reflect.Struct {
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct || v.Type() == reflect.TypeFor[dataset.Size]() {
			if v.Type() == reflect.TypeFor[dataset.Size]() {
				found[path] = fmt.Sprintf("{%d %d}", v.Field(0).Int(), v.Field(1).Int())
			} else {
				found[path] = fmt.Sprint(v)
			}
			return
		}
		for i := range v.NumField() {
			walk(path+"."+v.Type().Field(i).Name, v.Field(i))
		}
	}
	walk("", reflect.ValueOf(s))
	return found
}

// photos makes a folder of 18 pictures with 12 repeats, as a path for TRAIN.
func photos(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	folder := filepath.Join(dir, "12_personname man")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 18 {
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%d.JPG", i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// read reads a file of testdata with another train_data_dir and further command line.
func read(t *testing.T, name, folder string, line ...string) (*Options, train.Config, []string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(data), "TRAIN", filepath.ToSlash(folder))), 0o644); err != nil {
		t.Fatal(err)
	}
	o, err := parse(append([]string{"-config_file", path}, line...)...)
	if err != nil {
		t.Fatal(err)
	}
	config, notes, err := o.Config()
	if err != nil {
		t.Fatal(err)
	}
	return o, config, notes
}

func parse(args ...string) (*Options, error) {
	o := new(Options)
	f := flag.NewFlagSet("test", flag.ContinueOnError)
	o.Bind(f)
	return o, o.Parse(f, args)
}

// wantNotes checks that there is a note for each text, and no further one.
func wantNotes(t *testing.T, notes []string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !slices.ContainsFunc(notes, func(n string) bool { return strings.Contains(n, w) }) {
			t.Errorf("no note says %q", w)
		}
	}
	if len(notes) != len(want) || t.Failed() {
		t.Errorf("%d notes, want %d:\n%s", len(notes), len(want), strings.Join(notes, "\n"))
	}
}

// base is what sd-scripts' defaults make of an empty configuration.
func base() (c train.Config, s dataset.Set) {
	c.Dataset = dataset.Config{MaxTrainSteps: 1600, GradientAccumulationSteps: 1, PriorLossWeight: new(1.0)}
	c.LearningRate, c.UNetLR, c.TextEncoderLR = 2e-6, 2e-6, 2e-6
	c.LRScheduler, c.LRSchedulerNumCycles, c.LRSchedulerPower, c.Trainer.OptimizerType = "constant", 1, 1, "AdamW"
	c.Trainer.MaxGradNorm, c.Trainer.HuberSchedule, c.Trainer.HuberC, c.Trainer.HuberScale = 1, "snr", 0.1, 1
	c.Network.Dim, c.Network.Alpha, c.Noise.MultiresNoiseDiscount = 4, 1, 0.3
	c.SavePrecision, c.MixedPrecision, c.SampleSampler, c.OutputDir = compute.F32, "no", "ddim", "."
	s.BatchSize, s.MinReso, s.MaxReso, s.ResoSteps = 1, 256, 1024, 64
	s.Folder.CaptionExtension, s.Folder.Separator, s.Folder.TokenWarmupMin = ".caption", ",", 1
	return c, s
}

func TestGUIJSON(t *testing.T) {
	folder := photos(t)
	o, have, notes := read(t, "gui.json", folder)
	want, set := base()
	set.TrainDataDir, set.Resolution, set.BatchSize = filepath.ToSlash(folder), dataset.Size{W: 512, H: 512}, 2
	set.Enable, set.MaxReso, set.NoUpscale = true, 2048, true
	set.Folder.CaptionExtension, set.Folder.Prefix = ".txt", "photo of"
	want.Dataset.Sets, want.Dataset.MaxTrainSteps, want.Dataset.CacheLatents = []dataset.Set{set}, 1296, true
	want.LearningRate, want.UNetLR, want.TextEncoderLR = 1e-4, 1e-4, 5e-5
	want.LRScheduler, want.LRWarmupSteps, want.Trainer.OptimizerType = "cosine", "0.1", "AdamW8bit"
	want.Network.Dim, want.Network.Alpha = 32, 16
	want.Noise.NoiseOffset, want.Noise.MaxTimestep = 0.05, 1000 // Original: the multires fields do not count
	want.Trainer.ClipSkip, want.Trainer.MinSNRGamma, want.Trainer.Checkpointing, want.MaxTokenLength = 1, 5, true, 75
	want.OutputDir, want.OutputName, want.SaveEveryNEpochs, want.TrainingComment = "C:/lora/out", "personname_lora_v1", 2, "trigger: personname"
	want.SavePrecision, want.MixedPrecision, want.SampleSampler = compute.F16, "fp16", "euler_a"
	want.Logging = train.Logging{Dir: "C:/lora/log", With: "tensorboard"}
	same(t, have, want)
	if have, want := o.Value("pretrained_model_name_or_path"), "C:/models/v1-5-pruned-emaonly.safetensors"; have != want {
		t.Errorf("the model is %q, want %q", have, want)
	}
	wantNotes(t, notes, "max_grad_norm 0: the GUI drops zeros, so that sd-scripts takes 1.0", "without effect here: xformers, no_half_vae", "max_train_steps 1296, as the GUI counts")
}

func TestOldPreset(t *testing.T) {
	folder := photos(t)
	_, have, notes := read(t, "old-preset.json", folder, "-train_data_dir", folder)
	want, set := base()
	set.TrainDataDir, set.Resolution, set.BatchSize = folder, dataset.Size{W: 512, H: 650}, 3
	set.MaxReso, set.NoUpscale, set.Folder.CaptionExtension = 2048, true, ".txt"
	want.Dataset.Sets, want.Dataset.MaxTrainSteps, want.Dataset.CacheLatents, want.Dataset.Seed = []dataset.Set{set}, 72, true, 1234
	want.LearningRate, want.UNetLR, want.TextEncoderLR, want.Trainer.OptimizerType = 1e-4, 1e-4, 5e-5, "AdamW8bit"
	want.Network.Dim, want.Network.Alpha, want.Noise.NoiseOffset, want.Noise.MaxTimestep = 64, 64, 0.05, 1000
	want.Trainer.ClipSkip, want.OutputName, want.SaveEveryNEpochs, want.MaxTokenLength = 2, "last", 1, 75
	want.SavePrecision, want.MixedPrecision, want.SampleSampler = compute.BF16, "bf16", "euler_a"
	same(t, have, want)
	wantNotes(t, notes, "as in the GUI's empty form: max_bucket_reso 2048, max_timestep 1000, output_name last, sample_sampler euler_a, save_every_n_epochs 1",
		"GUI without max_train_steps", "without effect here: xformers, mem_eff_attn, max_data_loader_n_workers", "max_train_steps 72")
}

func TestGUITOML(t *testing.T) {
	folder := photos(t)
	_, have, notes := read(t, "gui.toml", folder)
	want, set := base()
	set.TrainDataDir, set.Resolution, set.BatchSize = filepath.ToSlash(folder), dataset.Size{W: 512, H: 512}, 2
	set.Enable, set.MaxReso, set.NoUpscale, set.Folder.CaptionExtension = true, 2048, true, ".txt"
	want.Dataset.Sets, want.Dataset.MaxTrainSteps, want.Dataset.CacheLatents = []dataset.Set{set}, 1296, true
	want.LearningRate, want.UNetLR, want.TextEncoderLR = 1e-4, 1e-4, 5e-5
	want.LRScheduler, want.LRWarmupSteps, want.Trainer.OptimizerType = "cosine", "0.1", "AdamW8bit"
	want.Network = lora.Network{Dim: 32, Alpha: 16, ConvDim: 8, ConvAlpha: 4, RankDropout: 0.1}
	want.Noise.MaxTimestep, want.Trainer.ClipSkip = 1000, 2
	want.OutputDir, want.OutputName, want.SaveEveryNEpochs, want.SamplePrompts = "out", "personname_lora_v1", 2, "out/sample/prompt.txt"
	want.SavePrecision, want.MixedPrecision, want.SampleSampler = compute.F16, "fp16", "euler_a"
	same(t, have, want)
	wantNotes(t, notes, "without effect here: xformers, wandb_run_name")
}

func TestConfigTOML(t *testing.T) {
	o, have, notes := read(t, "config.toml", "photos", "--network_args", "conv_dim=8", "conv_alpha=2", "-train_batch_size", "4")
	want, set := base()
	set.TrainDataDir, set.Resolution, set.BatchSize, set.Folder.CaptionExtension = "photos", dataset.Size{W: 512, H: 768}, 4, ".cap"
	set.Folder.FaceCropAugRange = [2]float64{2, 4}
	want.Dataset.Sets, want.Dataset.MaxTrainEpochs = []dataset.Set{set}, 3
	want.LearningRate, want.UNetLR, want.TextEncoderLR = 1e-3, 1e-3, 0
	want.Metadata = map[string]string{"ss_unet_lr": "None", "ss_text_encoder_lr": "None"} // as sd-scripts has what was not given
	want.LRScheduler, want.LRWarmupSteps = "constant_with_warmup", "10%"
	want.Network.ConvDim, want.Network.ConvAlpha, want.Network.UNetOnly = 8, 2, true // the command line's list is the whole list
	same(t, have, want)
	wantNotes(t, notes, "as sd-scripts takes them: network_alpha 1, network_dim 4, save_precision float", "without effect here: max_data_loader_n_workers")
	if have := o.Value("train_batch_size"); have != "4" {
		t.Errorf("train_batch_size is %s, want that of the command line, 4", have)
	}
}

func same(t *testing.T, have, want train.Config) {
	t.Helper()
	h, w := leaves(settings{Config: have}), leaves(settings{Config: want})
	for field := range w {
		if h[field] != w[field] {
			t.Errorf("%s is %s, want %s", field, h[field], w[field])
		}
	}
	for field := range h {
		if w[field] == "" {
			t.Errorf("%s is %s, want nothing", field, h[field])
		}
	}
}

func TestRecipe(t *testing.T) {
	for _, c := range []struct {
		name             string
		args             string
		epochs, steps    int
		rate, unet, text float64
		alpha            float64
		cached           bool
	}{
		{"nothing", "", 12, 1600, 1e-4, 1e-4, 5e-5, 16, true},
		{"steps instead of epochs", "-max_train_steps 500", 0, 500, 1e-4, 1e-4, 5e-5, 16, true},
		{"both", "-max_train_steps 500 --max_train_epochs=3", 3, 500, 1e-4, 1e-4, 5e-5, 16, true},
		{"one rate for both", "--learning_rate 3e-4", 12, 1600, 3e-4, 3e-4, 3e-4, 16, true},
		{"a rate and another", "-learning_rate 3e-4 -unet_lr 1e-5", 12, 1600, 3e-4, 1e-5, 3e-4, 16, true},
		{"UNet only", "-network_train_unet_only", 12, 1600, 1e-4, 1e-4, 0, 16, true},
		{"text encoder not trained", "-text_encoder_lr 0", 12, 1600, 1e-4, 1e-4, 0, 16, true},
		{"list of rates", "--text_encoder_lr 3e-5 1e-5 --seed 4", 12, 1600, 1e-4, 1e-4, 3e-5, 16, true},
		{"colours change", "-color_aug", 12, 1600, 1e-4, 1e-4, 5e-5, 16, false},
		{"sd-scripts' own", "-defaults sd-scripts -resolution 512", 0, 1600, 2e-6, 2e-6, 2e-6, 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := parse(append([]string{"-train_data_dir", "photos"}, strings.Fields(c.args)...)...)
			if err != nil {
				t.Fatal(err)
			}
			have, _, err := o.Config()
			if err != nil {
				t.Fatal(err)
			}
			var want train.Config
			want.Dataset.MaxTrainEpochs, want.Dataset.MaxTrainSteps, want.Dataset.CacheLatents = c.epochs, c.steps, c.cached
			want.LearningRate, want.UNetLR, want.TextEncoderLR, want.Network.Alpha = c.rate, c.unet, c.text, c.alpha
			got := train.Config{LearningRate: have.LearningRate, UNetLR: have.UNetLR, TextEncoderLR: have.TextEncoderLR}
			got.Dataset = dataset.Config{MaxTrainEpochs: have.Dataset.MaxTrainEpochs, MaxTrainSteps: have.Dataset.MaxTrainSteps, CacheLatents: have.Dataset.CacheLatents}
			got.Network.Alpha = have.Network.Alpha
			same(t, got, want)
		})
	}
}

// TestRatesTold tells in the metadata which rates were given, as sd-scripts does: None where none was, and one that is not used.
func TestRatesTold(t *testing.T) {
	for args, want := range map[string]string{
		"-unet_lr 1e-4 -text_encoder_lr 5e-5":                          "map[]", // as the training writes them by itself
		"-learning_rate 3e-4":                                          "map[ss_text_encoder_lr:None ss_unet_lr:None]",
		"-learning_rate 3e-4 -unet_lr 1e-5":                            "map[ss_text_encoder_lr:None]",
		"-unet_lr 1e-4 -text_encoder_lr 5e-5 -network_train_unet_only": "map[ss_text_encoder_lr:5e-05]",
	} {
		o, err := parse(append([]string{"-train_data_dir", "photos"}, strings.Fields(args)...)...)
		if err != nil {
			t.Fatal(err)
		}
		if c, _, err := o.Config(); err != nil || fmt.Sprint(c.Metadata) != want {
			t.Errorf("%s: %v, %v, want %s", args, c.Metadata, err, want)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name, args string
		want       []string
	}{
		{"near names", "-network_dims 4", []string{"no option -network_dims", "network_dim"}},
		{"argument", "training", []string{`unexpected argument "training"`}},
		{"no value", "-network_dim", []string{"-network_dim needs a value"}},
		{"Go's numbers", "-network_dim 0x10 -learning_rate 0x1p-14", []string{`-network_dim is "0x10", want a whole number`, `-learning_rate is "0x1p-14", want a number`}},
		{"everything at once", "-network_dim 0 -unet_lr fast -min_snr_gamma NaN -cache_latents=maybe",
			[]string{"-network_dim is 0, want 1", `-unet_lr is "fast"`, `-min_snr_gamma is "NaN"`, "-cache_latents"}},
		{"another model", "--v2", []string{"-v2 cannot be had: only Stable Diffusion 1.x"}},
		{"a pickle", "-save_model_as ckpt", []string{`-save_model_as is "ckpt", want safetensors`}},
		{"another network", "-network_module lycoris.kohya", []string{"networks.lora"}},
		{"weights in captions", "-weighted_captions", []string{"-weighted_captions cannot be had"}},
		{"precision", "-mixed_precision fp8", []string{`"fp8", want no, fp16, bf16`}},
		{"a network argument", "-network_args conv_dimm=4", []string{`network_args has no "conv_dimm"; near it: conv_dim`}},
		{"no network argument", "-network_args 4", []string{"want NAME=VALUE"}},
		{"two optimizers", "-use_8bit_adam -use_lion_optimizer", []string{"exclude each other"}},
		{"another optimizer", "-use_8bit_adam -optimizer_type Prodigy", []string{"optimizer_type is Prodigy"}},
		{"two dims of 25", "-network_args block_dims=2,x", []string{`block_dims is "x", want a whole number`}},
		{"weights of blocks", "-network_args down_lr_weight=sinus", []string{"network_args: ", "down_lr_weight", "sinus"}},
		{"nothing trained", "-unet_lr 0 -text_encoder_lr 0", []string{"nothing would be trained"}},
		{"no such dataset", "-dataset_config nowhere.toml", []string{"nowhere.toml"}},
		{"sides", "-resolution 512,512,512", []string{"-resolution is"}},
		{"a negative weight", "-prior_loss_weight -1", []string{"-1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := parse(append([]string{"-train_data_dir", "photos"}, strings.Fields(c.args)...)...)
			if err == nil {
				_, _, err = o.Config()
			}
			wantError(t, err, c.want...)
		})
	}
	_, _, err := new(Options).Config()
	wantError(t, err, "train_data_dir is missing")
}

func wantError(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error %q does not say %q", err, w)
		}
	}
}

func TestFileErrors(t *testing.T) {
	gui := func(keys string) string { return `{"LoRA_type": "Standard", ` + keys + `}` }
	for _, c := range []struct {
		name, file string
		want       []string
	}{
		{"unknown key", "network_rank = 4\nlearning_rat = 1", []string{`no option "network_rank"`, `no option "learning_rat"; near it: learning_rate`}},
		{"key in two sections", "[a]\nseed = 1\n[b]\nseed = 2", []string{`[b] seed is "2", but [a] seed is "1"`}},
		{"key in a section and above all", "seed = 1\n[b]\nseed = 2", []string{`seed is "1", but [b] seed is "2"`}},
		{"lists in two sections", "[a]\nnetwork_args = ['conv_dim=4']\n[b]\nnetwork_args = ['conv_dim=4', 'conv_alpha=1']", []string{"[a] network_args", "[b] network_args"}},
		{"two names", "caption_extension = '.a'\ncaption_extention = '.b'", []string{"caption_extention is \".b\", but caption_extension is \".a\""}},
		{"old name", "[optimizer_arguments]\nlr_restart_cycles = 1", []string{`[optimizer_arguments] there is no option "lr_restart_cycles"; here it is called lr_scheduler_num_cycles`}},
		{"LoRA_Easy_Training_Scripts", "[general_args.args]\npretrained_model_name_or_path = 'm.safetensors'\nmax_train_epochs = 1\n[network_args.args]\nnetwork_dim = 8",
			[]string{"another trainer, LoRA_Easy_Training_Scripts", "max_train_epochs 1", "network_dim 8", "pretrained_model_name_or_path m.safetensors"}},
		{"its dataset", "[[subsets]]\nnum_repeats = 2\n[general_args.dataset_args]\nresolution = 512", []string{"another trainer, LoRA_Easy_Training_Scripts", "resolution 512"}},
		{"OneTrainer", `{"__version": 6, "training_method": "LORA", "optimizer": {"optimizer": "ADAMW"}, "lora_rank": 16, "batch_size": 2}`, []string{"another trainer, OneTrainer", "network_dim 16", "train_batch_size 2"}},
		{"diffusion-pipe", "epochs = 3\n[model]\ntype = 'sdxl'\n[adapter]\ntype = 'lora'\nrank = 4", []string{"another trainer, diffusion-pipe", "max_train_epochs 3", "network_dim 4"}},
		{"SimpleTuner", `{"--model_type": "lora", "--lora_rank": 16}`, []string{"another trainer, SimpleTuner", "network_dim 16"}},
		{"command line", "--network_dim=8 --resolution=128\n", []string{"this is a command line"}},
		{"script", "#!/bin/sh\naccelerate launch train_network.py \\\n  --network_dim=8\n", []string{"this is a command line"}},
		{"YAML", "---\njob: extension\nconfig:\n  name: x", []string{"this is YAML, as ai-toolkit"}},
		{"a Windows path", "pretrained_model_name_or_path = \"C:\\Users\\x.safetensors\"", []string{"single quotes"}},
		{"a Windows path in JSON", `{"vae": "C:\models"}`, []string{`write \\ or /`}},
		{"table", "[a.seed]\nx = 1", []string{"seed is a table"}},
		{"date", "seed = 2026-01-01", []string{"seed is \"2026-01-01"}},
		{"lists", "network_args = [['a']]", []string{"list of lists"}},
		{"a file in a file", "config_file = 'a'", []string{"config_file in a config_file"}},
		{"a dataset config", "[[datasets]]\nresolution = 512", []string{"name it as dataset_config"}},
		{"syntax", "seed = ", []string{"options.toml"}},
		{"text after JSON", "{} {}", []string{"text after"}},
		{"unknown key of a form", gui(`"network_rank": 4, "epoches": 3`), []string{`no key "network_rank"`, `no key "epoches"; near it: epoch`}},
		{"LyCORIS", `{"LoRA_type": "LyCORIS/LoHa"}`, []string{`LoRA_type is "LyCORIS/LoHa", want Standard or Kohya LoCon`}},
		{"SDXL", gui(`"sdxl": true, "a": 1`), []string{"sdxl is on"}},
		{"another tab", `{"max_resolution": "512,512", "learning_rate_te": 1}`, []string{"not saved on the GUI's LoRA tab"}},
		{"Flux", gui(`"flux1_checkbox": true`), []string{"flux1_checkbox is on"}},
		{"no rates", gui(`"learning_rate": 0, "unet_lr": "", "text_encoder_lr": "0.0"`), []string{"are all 0"}},
		{"warm-up", gui(`"lr_warmup": 120`), []string{"lr_warmup is 120"}},
		{"epoch", gui(`"epoch": "ten"`), []string{`"ten"`}},
		{"additional parameters", gui(`"additional_parameters": "--nonsense 3"`), []string{"additional_parameters: ", "-nonsense"}},
		{"quotes", gui(`"additional_parameters": "--caption_prefix \"a"`), []string{"not closed"}},
		{"a file in additional parameters", gui(`"additional_parameters": "--config_file x"`), []string{"config_file cannot be named"}},
		{"deep tables", "a=" + strings.Repeat("{a=\n", 5000), []string{"line 16: keys and lists are more than 16 deep"}},
		{"long key", strings.Repeat("a.", 5000) + "a=1", []string{"line 1: keys and lists"}},
		{"too long", strings.Repeat("#", maxFileBytes+1), []string{"is it the right file?"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "options.toml")
			if err := os.WriteFile(path, []byte(c.file), 0o644); err != nil {
				t.Fatal(err)
			}
			wantError(t, new(Options).ReadFile(path), append(c.want, "kohya: ")...)
		})
	}
	for _, file := range []string{"train_data_dir = \"C:\\train\\new\"", `{"train_data_dir": "C:\train"}`, `{"LoRA_type": "Standard", "train_data_dir": "C:\train"}`} {
		o := Options{path: "file"}
		err := o.parse([]byte(file))
		if err == nil {
			_, _, err = o.Config()
		}
		wantError(t, err, "train_data_dir is [", `single quotes or /, in JSON \\ or /`)
	}
	var o Options
	wantError(t, o.ReadFile(filepath.Join("testdata", "nowhere")), "nowhere")
	if err := o.ReadFile(filepath.Join("testdata", "config")); err != nil {
		t.Errorf("without .toml: %v", err)
	}
	wantError(t, o.ReadFile(filepath.Join("testdata", "config.toml")), "one file can be read")
}

// TestLaunchPackage reads a file as a much used launch package has it, one key in two sections with equal values.
func TestLaunchPackage(t *testing.T) {
	for _, file := range []string{
		"[dataset_arguments]\nresolution = '128,128'\nseed = 1\nnetwork_args = ['conv_dim=4']\n[training_arguments]\nresolution = '128,128'\nseed = 1\nnetwork_args = ['conv_dim=4']",
		"resolution = '128,128'\nseed = 1\n[a]\nseed = 1\n[b]\nseed = 1\n",
		"resolution = '128,128'\ncaption_extension = '.a'\ncaption_extention = '.a'\n[a]\nvae = ''\n[b]\nvae = 'x'\nseed = 1",
	} {
		var o Options
		if err := o.parse([]byte(file)); err != nil || o.Value("resolution") != "128,128" {
			t.Errorf("%q: resolution %q, %v", file, o.Value("resolution"), err)
		}
		if o.path = "file"; o.Value("seed") != "1" {
			t.Errorf("%q: seed %q", file, o.Value("seed"))
		}
	}
}

// TestRenamed: what a name is called here is an option, and is not itself one.
func TestRenamed(t *testing.T) {
	for old, now := range renamed {
		if rows[old] != nil || rows[now] == nil {
			t.Errorf("%s is said to be called %s here", old, now)
		}
	}
}

// TestManyErrors: a file with as many mistakes as it can hold is answered with a page.
func TestManyErrors(t *testing.T) {
	var file, form strings.Builder
	for i := range 15000 {
		fmt.Fprintf(&file, "nonsense%d = 1\n", i)
		fmt.Fprintf(&form, `, "nonsense%d": 1`, i)
	}
	for _, data := range []string{file.String(), `{"LoRA_type": "Standard"` + form.String()[:200<<10] + `": 1}`} {
		err := new(Options).parse([]byte(data))
		wantError(t, err, "nonsense0", "more")
		if n := strings.Count(err.Error(), "\n"); n > 40 {
			t.Errorf("%d lines", n)
		}
	}
}

// TestGUIRules has the rules by which the GUI makes a config_file, in fields of a form.
func TestGUIRules(t *testing.T) {
	folder := photos(t)
	for _, c := range []struct {
		name, form, option, want string
	}{
		{"warm-up in percent", `"lr_warmup": 5`, "lr_warmup_steps", "0.05"},
		{"warm-up in steps", `"lr_warmup": 5, "lr_warmup_steps": "30"`, "lr_warmup_steps", "30"},
		{"warm-up with a dataset_config", `"dataset_config": "d.toml", "lr_warmup": 10, "max_train_steps": 1605`, "lr_warmup_steps", "160"},
		{"text encoder left alone", `"text_encoder_lr": 0, "unet_lr": 1e-4`, "network_train_unet_only", "true"},
		{"UNet left alone", `"text_encoder_lr": "5e-5", "unet_lr": 0`, "network_train_text_encoder_only", "true"},
		{"neither has a rate", `"text_encoder_lr": 0, "unet_lr": 0`, "network_train_unet_only", ""},
		{"neither has a rate, so both", `"text_encoder_lr": 0, "unet_lr": 0`, "unet_lr", ""},
		{"zero rank", `"network_dim": 0`, "network_dim", "4"},
		{"LoCon", `"LoRA_type": "Kohya LoCon", "conv_dim": 8, "conv_alpha": "4"`, "network_args", "conv_dim=8,conv_alpha=4"},
		{"Standard has no conv_dim", `"conv_dim": 8`, "network_args", ""},
		{"a zero of a ratio is dropped", `"rank_dropout": 0, "module_dropout": "0.1"`, "network_args", "module_dropout=0.1"},
		{"a zero of a weight is not", `"mid_lr_weight": "0"`, "network_args", "mid_lr_weight=0"},
		{"multires", `"noise_offset_type": "Multires", "noise_offset": 0.1, "multires_noise_iterations": 6`, "multires_noise_iterations", "6"},
		{"no offset with it", `"noise_offset_type": "Multires", "noise_offset": 0.1`, "noise_offset", ""},
		{"sdpa", `"xformers": "sdpa"`, "sdpa", "true"},
		{"no attention", `"xformers": "none"`, "xformers", ""},
		{"empty extension", `"caption_extension": ""`, "caption_extension", ".caption"},
		{"none named", `"v2": false`, "caption_extension", ".txt"},
		{"optimizer of old forms", `"use_8bit_adam": true`, "optimizer_type", "AdamW8bit"},
		{"further parameters come first", `"keep_tokens": 1, "additional_parameters": "--keep_tokens=2"`, "keep_tokens", "2"},
		{"steps", `"max_train_steps": 800, "epoch": 7`, "max_train_steps", "800"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var o Options
			form := c.form
			if !strings.Contains(form, "LoRA_type") {
				form += `, "LoRA_type": "Standard"`
			}
			if err := o.parse([]byte(`{` + form + `}`)); err != nil {
				t.Fatal(err)
			}
			o.path = "form.json"
			if have := o.Value(c.option); have != c.want {
				t.Errorf("%s is %q, want %q", c.option, have, c.want)
			}
		})
	}
	for _, c := range []struct {
		form string
		want int
	}{
		{`"max_train_steps": 0, "epoch": 12, "train_batch_size": 8`, 324},
		{`"max_train_steps": 0, "epoch": 12, "train_batch_size": 2, "gradient_accumulation_steps": 4`, 324},
		{`"max_train_steps": 0, "epoch": 1, "reg_data_dir": "reg", "train_batch_size": 5`, 87},
		{`"max_train_steps": "", "epoch": 2`, 432},
		{`"epoch": 2`, 432},
		{`"max_train_steps": 100, "epoch": 2`, 100},
		{`"max_train_steps": 0, "epoch": ""`, 1600},
	} {
		var o Options
		if err := o.parse([]byte(`{"LoRA_type": "Standard", "train_data_dir": "` + filepath.ToSlash(folder) + `", ` + c.form + `}`)); err != nil {
			t.Fatal(err)
		}
		o.path = "form.json"
		config, _, err := o.Config()
		if have := config.Dataset.MaxTrainSteps; err != nil || have != c.want {
			t.Errorf("%s: %d steps (%v), want %d", c.form, have, err, c.want)
		}
	}
}

// TestPrompts: prompts in the form become a file that can be changed while training.
func TestPrompts(t *testing.T) {
	dir := t.TempDir()
	form := `{"LoRA_type": "Standard", "train_data_dir": "photos", "output_dir": "` + filepath.ToSlash(dir) + `", "sample_every_n_epochs": 1, "sample_prompts": %q}`
	var o Options
	if err := o.parse(fmt.Appendf(nil, form, "a cat --w 512\na dog")); err != nil {
		t.Fatal(err)
	}
	config, _, err := o.Config()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "sample", "prompt.txt")
	if config.SamplePrompts != path {
		t.Errorf("sample_prompts is %q, want %q", config.SamplePrompts, path)
	}
	if err := o.WritePrompts(); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "a cat --w 512\na dog\n" {
		t.Errorf("the file has %q, %v", data, err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("%d files beside the prompts, want none", len(left)-1)
	}
	var named Options
	if err := named.parse(fmt.Appendf(nil, form, filepath.ToSlash(path))); err != nil {
		t.Fatal(err)
	}
	if have := named.Value("sample_prompts"); have != filepath.ToSlash(path) || named.WritePrompts() != nil {
		t.Errorf("sample_prompts that name a file are %q, want %q", have, path)
	}
}

func TestArguments(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []string
		want []string
	}{
		{"one", []string{"conv_dim=4"}, []string{"conv_dim=4"}},
		{"several", []string{"conv_dim=4", "conv_alpha=1"}, []string{"conv_dim=4", "conv_alpha=1"}},
		{"blanks", []string{"conv_dim=4  conv_alpha=1"}, []string{"conv_dim=4", "conv_alpha=1"}},
		{"commas", []string{"conv_dim=4,conv_alpha=1"}, []string{"conv_dim=4", "conv_alpha=1"}},
		{"commas within", []string{"betas=0.9,0.99 weight_decay=0.1"}, []string{"betas=0.9,0.99", "weight_decay=0.1"}},
		{"blanks within", []string{"betas=(0.9, 0.99), weight_decay=0.1"}, []string{"betas=(0.9, 0.99)", "weight_decay=0.1"}},
		{"quotes", []string{`"conv_dim=4" 'conv_alpha=1'`}, []string{"conv_dim=4", "conv_alpha=1"}},
		{"blocks", []string{"block_dims=2,4,4"}, []string{"block_dims=2,4,4"}},
		{"no name", []string{"4 conv_dim=4"}, []string{"4", "conv_dim=4"}},
		{"nothing", []string{" , "}, nil},
	} {
		if have := splitArguments(c.in); !slices.Equal(have, c.want) {
			t.Errorf("%s: %q, want %q", c.name, have, c.want)
		}
	}
}

// TestNetworkArgs has the arguments that are more than a number.
func TestNetworkArgs(t *testing.T) {
	fours := strings.TrimSuffix(strings.Repeat("4,", 25), ",")
	o, err := parse("-train_data_dir", "photos", "-network_args", "block_dims="+fours+" conv_block_dims="+fours, "down_lr_weight=zeros", "mid_lr_weight=0.5,block_lr_zero_threshold=0.6",
		"-optimizer_args", "betas=(0.9, 0.99)", "weight_decay=0.1", "--lr_scheduler_args=step_rules=1:10,0.1:20,0.01")
	if err != nil {
		t.Fatal(err)
	}
	config, _, err := o.Config()
	if err != nil {
		t.Fatal(err)
	}
	want := append(make([]float64, 13), slices.Repeat([]float64{1}, 12)...)
	if have := config.Network.BlockLRWeight; !slices.Equal(have, want) {
		t.Errorf("the weights of blocks are %v, want %v", have, want)
	}
	n := config.Network
	if !slices.Equal(n.BlockDims, slices.Repeat([]int{4}, 25)) || !slices.Equal(n.ConvBlockDims, n.BlockDims) || n.ConvAlpha != 1 || n.BlockAlphas != nil {
		t.Errorf("%+v, want 25 ranks of 4 and conv_alpha 1", n)
	}
	if have, want := config.Trainer.OptimizerArgs, []string{"betas=(0.9, 0.99)", "weight_decay=0.1"}; !slices.Equal(have, want) {
		t.Errorf("optimizer_args are %q, want %q", have, want)
	}
	if have, want := config.LRSchedulerArgs, []string{"step_rules=1:10,0.1:20,0.01"}; !slices.Equal(have, want) {
		t.Errorf("lr_scheduler_args are %q, want %q", have, want)
	}
}

// TestLiterals has network_args written as Python does, as those of other option lists can be.
func TestLiterals(t *testing.T) {
	fours := strings.TrimSuffix(strings.Repeat("4, ", 25), ", ")
	for args, want := range map[string]lora.Network{
		`conv_dim="8"`:                {ConvDim: 8, ConvAlpha: 1},
		"conv_dim=8 conv_alpha=2.":    {ConvDim: 8, ConvAlpha: 2},
		"conv_dim=(8)":                {ConvDim: 8, ConvAlpha: 1},
		"conv_dim=None":               {},
		"rank_dropout=None":           {},
		"rank_dropout=.5":             {RankDropout: 0.5},
		"block_dims=[" + fours + "]":  {BlockDims: slices.Repeat([]int{4}, 25)},
		"block_dims=(" + fours + ",)": {BlockDims: slices.Repeat([]int{4}, 25)},
	} {
		o := Options{line: map[string][]string{"train_data_dir": {"x"}, "network_args": {args}}}
		config, _, err := o.Config()
		have := config.Network
		have.Dim, have.Alpha = 0, 0
		if err != nil || !reflect.DeepEqual(have, want) {
			t.Errorf("%s: %+v, %v, want %+v", args, have, err, want)
		}
	}
}

// TestCommandLine has the command that an older GUI ran, as people keep it in scripts.
func TestCommandLine(t *testing.T) {
	line := []string{
		"--enable_bucket", "--pretrained_model_name_or_path=runwayml/stable-diffusion-v1-5", "--train_data_dir=D:/lora/img", "--resolution=512,512",
		"--output_dir=D:/lora/model", "--logging_dir=D:/lora/log", "--network_alpha=128", "--save_model_as=safetensors", "--network_module=networks.lora",
		"--text_encoder_lr=5e-5", "--unet_lr=0.0001", "--network_dim=128", "--output_name=last", "--lr_scheduler_num_cycles=1", "--learning_rate=0.0001",
		"--lr_scheduler=cosine", "--lr_warmup_steps=40", "--train_batch_size=2", "--max_train_steps=400", "--save_every_n_epochs=1", "--mixed_precision=fp16",
		"--save_precision=fp16", "--seed=1234", "--caption_extension=.txt", "--cache_latents", "--optimizer_type=AdamW8bit", "--max_data_loader_n_workers=1",
		"--clip_skip=2", "--bucket_reso_steps=64", "--mem_eff_attn", "--xformers", "--bucket_no_upscale", "--defaults", "sd-scripts",
	}
	o, err := parse(line...)
	if err != nil {
		t.Fatal(err)
	}
	have, notes, err := o.Config()
	if err != nil {
		t.Fatal(err)
	}
	want, set := base()
	set.TrainDataDir, set.Resolution, set.BatchSize, set.Enable, set.NoUpscale = "D:/lora/img", dataset.Size{W: 512, H: 512}, 2, true, true
	set.Folder.CaptionExtension = ".txt"
	want.Dataset.Sets, want.Dataset.MaxTrainSteps, want.Dataset.CacheLatents, want.Dataset.Seed = []dataset.Set{set}, 400, true, 1234
	want.OutputDir, want.OutputName, want.Logging.Dir, want.SaveEveryNEpochs = "D:/lora/model", "last", "D:/lora/log", 1
	want.LearningRate, want.UNetLR, want.TextEncoderLR = 1e-4, 1e-4, 5e-5
	want.Network.Dim, want.Network.Alpha, want.Trainer.OptimizerType, want.Trainer.ClipSkip = 128, 128, "AdamW8bit", 2
	want.LRScheduler, want.LRWarmupSteps, want.SavePrecision, want.MixedPrecision = "cosine", "40", compute.F16, "fp16"
	same(t, have, want)
	wantNotes(t, notes, "without effect here: xformers, mem_eff_attn, max_data_loader_n_workers")
}

// TestPlainJSON: options may be in JSON too, and are the form of the GUI only if its keys are there.
func TestPlainJSON(t *testing.T) {
	var o Options
	if err := o.parse([]byte(`{"network_dim": 8, "cache_latents": true, "text_encoder_lr": [5e-5, 1e-5], "vae": null}`)); err != nil {
		t.Fatal(err)
	}
	o.path = "plain.json"
	for name, want := range map[string]string{"network_dim": "8", "cache_latents": "true", "text_encoder_lr": "5e-5,1e-5", "vae": "", "lr_scheduler": "constant"} {
		if have := o.Value(name); have != want {
			t.Errorf("%s is %q, want %q", name, have, want)
		}
	}
}

func TestDatasetConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.toml")
	if err := os.WriteFile(path, []byte("[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'a'\nkeep_tokens = 2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	o, err := parse("-dataset_config", path, "-train_data_dir", "photos", "-train_batch_size", "3", "-keep_tokens", "1", "-flip_aug")
	if err != nil {
		t.Fatal(err)
	}
	config, notes, err := o.Config()
	if err != nil {
		t.Fatal(err)
	}
	wantNotes(t, notes, "train_data_dir is not used")
	set := config.Dataset.Sets[0]
	if set.BatchSize != 3 || set.TrainDataDir != "" || set.Resolution.W != 512 || set.Subsets[0].KeepTokens != 2 || !set.Subsets[0].FlipAug {
		t.Errorf("%+v", set)
	}
}

func TestUsage(t *testing.T) {
	var b strings.Builder
	new(Options).Usage(&b)
	for name, row := range rows {
		switch row.kind.class {
		case isIdle, isRefused:
			if !strings.Contains(b.String(), name) {
				t.Errorf("help does not name %s", name)
			}
		default:
			if !strings.Contains(b.String(), "  -"+name+" ") {
				t.Errorf("help has no -%s", name)
			}
		}
	}
	for line := range strings.SplitSeq(b.String(), "\n") {
		if n := len([]rune(line)); n > 122 {
			t.Errorf("a line of help has %d letters: %s", n, line)
		}
	}
	if want := "rank (default 16)"; !strings.Contains(b.String(), want) {
		t.Errorf("help does not say %q", want)
	}
	if _, err := parse("-help"); err != flag.ErrHelp {
		t.Errorf("-help: %v", err)
	}
}

// FuzzReadFile: whatever a file holds, it is refused or makes a configuration or says what is wrong with it.
func FuzzReadFile(f *testing.F) {
	for _, name := range []string{"gui.json", "old-preset.json", "gui.toml", "config.toml"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"LoRA_type":"Standard","additional_parameters":"--network_args a=1 b=2 --x='"}`))
	f.Add([]byte("[a]\nb=[1,[2]]\n[[c]]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var o Options
		if err := o.parse(data); err != nil {
			return
		}
		o.path = "file"
		delete(o.file, "dataset_config") // reads files
		delete(o.file, "train_data_dir")
		if config, _, err := o.Config(); err == nil {
			t.Errorf("a configuration without train_data_dir: %+v", config)
		}
	})
}

// FuzzLines takes lists of arguments and the GUI's field of further parameters apart: pieces are never empty, and an argument
// that is taken apart stays as it is.
func FuzzLines(f *testing.F) {
	f.Add("betas=(0.9, 0.99), weight_decay=0.1 block_dims=[4,4]")
	f.Add(`--network_args "conv_dim=4" 'a b' --x=""`)
	f.Fuzz(func(t *testing.T, line string) {
		for _, piece := range splitArguments([]string{line}) {
			if again := splitArguments([]string{piece}); !slices.Equal(again, []string{piece}) {
				t.Errorf("%q has %q, which is %q", line, piece, again)
			}
			if _, value, ok := strings.Cut(piece, "="); ok && literal(literal(value)) != literal(value) && !strings.ContainsAny(value, "'\"") {
				t.Errorf("%q is %q, and that %q", value, literal(value), literal(literal(value)))
			}
		}
		if words, err := split(line); err == nil && len(words) > len(line) {
			t.Errorf("%q has %d words", line, len(words))
		}
	})
}

// TestOneError gives an option a value it cannot have: what follows from its absence is no further error.
// TestDenied asks who said that a switch is off.
func TestDenied(t *testing.T) {
	toml := filepath.Join(t.TempDir(), "off.toml")
	if err := os.WriteFile(toml, []byte("v_parameterization = false\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	form := filepath.Join(t.TempDir(), "form.json")
	if err := os.WriteFile(form, []byte(`{"LoRA_type": "Standard", "v_parameterization": false}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, ""},
		{[]string{"-v_parameterization"}, ""},
		{[]string{"-v_parameterization=false"}, "-v_parameterization"},
		{[]string{"-config_file", toml}, toml + ": v_parameterization"},
		{[]string{"-config_file", toml, "-v_parameterization"}, ""},
		{[]string{"-config_file", form}, ""},
		{[]string{"-config_file", form, "-v_parameterization=false"}, "-v_parameterization"},
	} {
		o, err := parse(c.args...)
		if err != nil {
			t.Fatal(err)
		}
		if by := o.Denied("v_parameterization"); by != c.want {
			t.Errorf("%v: %q, want %q", c.args, by, c.want)
		}
	}
}

func TestOneError(t *testing.T) {
	for _, args := range [][]string{
		{"-resolution", "512x512"}, {"-learning_rate", "1e-4,5e-5", "-unet_lr", "0", "-text_encoder_lr", "0"}, {"-learning_rate", "1e-4,5e-5"}, {"-network_dim", "8x"},
		{"-unet_lr", "1e-4,5e-5", "-text_encoder_lr", "0"}, {"-max_train_epochs", "3,"}, {"-noise_offset", "0,1"}, {"-seed", "1_000"}, {"-prior_loss_weight", "-1"},
		{"-network_args", "conv_dim=8x"}, {"-optimizer_type", "Lion,", "-optimizer_type", "x", "-use_8bit_adam=maybe"},
	} {
		var o Options
		f := flag.NewFlagSet("", flag.ContinueOnError)
		o.Bind(f)
		if err := o.Parse(f, append([]string{"-train_data_dir", "x"}, args...)); err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		if _, _, err := o.Config(); err == nil || strings.Count(err.Error(), "kohya: ") != 1 {
			t.Errorf("%q: the errors are %v, want one", args, err)
		}
	}
}

// TestPriorLossWeight says 0, which is not the same as nothing.
func TestPriorLossWeight(t *testing.T) {
	o := Options{line: map[string][]string{"train_data_dir": {"x"}, "prior_loss_weight": {"0"}}}
	if config, _, err := o.Config(); err != nil || *config.Dataset.PriorLossWeight != 0 {
		t.Errorf("the weight is %v, %v, want 0", config.Dataset.PriorLossWeight, err)
	}
}

// TestFlags says of fields by which options they are set, as errors name them.
func TestFlags(t *testing.T) {
	for field, want := range map[string]string{
		"Config.Network.Dim": "-network_dim", "Network.BlockDims[3]": "-network_args block_dims", "Config.UNetLR": "-unet_lr", "Config.Noise.MinTimestep": "-min_timestep",
		"Config.Trainer.Objective.HuberC": "-huber_c", "Config.Trainer.HuberC": "-huber_c", "Options.MaxGradNorm": "-max_grad_norm", "Config.Logging.With": "-log_with",
		"Config.Dataset.MaxTrainSteps": "-max_train_steps", "Config.MaxTrainSteps": "-max_train_steps", "Config.Sets[0].BatchSize": "-train_batch_size",
		"Config.Dataset.Sets[1].Bucketing.MinReso": "-min_bucket_reso", "Config.Sets[0].Folder.CaptionOptions.KeepTokens": "-keep_tokens", "Config.Sets[0].Folder.KeepTokens": "-keep_tokens",
		"Config.Sets[0].Subsets[2].KeepTokens": "[[datasets]] 1: [[datasets.subsets]] 3: keep_tokens", "Config.Sets[2].Subsets[0].ImageDir": "[[datasets]] 3: [[datasets.subsets]] 1: image_dir",
		"Bucketing.MinReso": "-min_bucket_reso", "CaptionOptions.Prefix": "-caption_prefix", "Subset.CaptionExtension": "-caption_extension", "Subset.FaceCropAugRange": "-face_crop_aug_range",
		"Config.CacheLatentsToDisk": "-cache_latents_to_disk", "Config.Device": "", "Request.Width": "",
	} {
		err := fmt.Errorf("train: %w", invalid.Field(field, 1, "another"))
		if have := Flags(err.Error())[field]; have != want {
			t.Errorf("%s is set by %q, want %q", field, have, want)
		}
	}
}

// TestErrorsNameOptions gives each field that a training checks what it cannot have: the error is about the field, and the
// option that fills it is known.
func TestErrorsNameOptions(t *testing.T) {
	nan := math.NaN()
	for want, spoil := range map[string]func(*train.Config){
		"-network_dim":                                 func(c *train.Config) { c.Network.Dim = -1 },
		"-network_alpha":                               func(c *train.Config) { c.Network.Alpha = nan },
		"-network_args conv_dim":                       func(c *train.Config) { c.Network.ConvDim = 5000 },
		"-network_args conv_alpha":                     func(c *train.Config) { c.Network.ConvAlpha = -1 },
		"-network_args block_dims":                     func(c *train.Config) { c.Network.BlockDims = []int{1} },
		"-network_args conv_block_dims":                func(c *train.Config) { c.Network.ConvBlockDims = slices.Repeat([]int{-1}, lora.Blocks) },
		"-network_args block_alphas":                   func(c *train.Config) { c.Network.BlockAlphas = []float64{1} },
		"-network_args conv_block_alphas":              func(c *train.Config) { c.Network.ConvBlockAlphas = []float64{nan} },
		"-network_dropout":                             func(c *train.Config) { c.Network.Dropout = 1 },
		"-network_args rank_dropout":                   func(c *train.Config) { c.Network.RankDropout = nan },
		"-network_args module_dropout":                 func(c *train.Config) { c.Network.ModuleDropout = -1 },
		"-network_train_text_encoder_only":             func(c *train.Config) { c.Network.TextEncoderOnly, c.Network.UNetOnly = true, true },
		"-network_args loraplus_lr_ratio":              func(c *train.Config) { c.Trainer.LoRAPlusRatio = nan },
		"-network_args loraplus_unet_lr_ratio":         func(c *train.Config) { c.Trainer.LoRAPlusUNetRatio = -1 },
		"-network_args loraplus_text_encoder_lr_ratio": func(c *train.Config) { c.Trainer.LoRAPlusTextEncoderRatio = -1 },
		"-max_grad_norm":                               func(c *train.Config) { c.Trainer.MaxGradNorm = nan },
		"-scale_weight_norms":                          func(c *train.Config) { c.Trainer.ScaleWeightNorms = -1 },
		"-optimizer_type":                              func(c *train.Config) { c.Trainer.OptimizerType = "SGD" },
		"-optimizer_args":                              func(c *train.Config) { c.Trainer.OptimizerArgs = []string{"x=1"} },
		"-min_timestep":                                func(c *train.Config) { c.Noise.MinTimestep = 1000 },
		"-max_timestep":                                func(c *train.Config) { c.Noise.MaxTimestep = 1001 },
		"-noise_offset":                                func(c *train.Config) { c.Noise.AdaptiveNoiseScale = 1 },
		"-adaptive_noise_scale":                        func(c *train.Config) { c.Noise.NoiseOffset, c.Noise.AdaptiveNoiseScale = 1, nan },
		"-multires_noise_iterations":                   func(c *train.Config) { c.Noise.MultiresNoiseIterations = 65 },
		"-multires_noise_discount":                     func(c *train.Config) { c.Noise.MultiresNoiseDiscount = nan },
		"-ip_noise_gamma":                              func(c *train.Config) { c.Noise.IPNoiseGamma = 1e9 },
		"-loss_type":                                   func(c *train.Config) { c.Trainer.Loss = 9 },
		"-huber_schedule":                              func(c *train.Config) { c.Trainer.HuberSchedule = "linear" },
		"-huber_c":                                     func(c *train.Config) { c.Trainer.HuberC = -1 },
		"-huber_scale":                                 func(c *train.Config) { c.Trainer.HuberScale = nan },
		"-min_snr_gamma":                               func(c *train.Config) { c.Trainer.MinSNRGamma = -1 },
		"-scale_v_pred_loss_like_noise_pred":           func(c *train.Config) { c.Trainer.ScaleVPredLoss = true },
		"-v_pred_like_loss":                            func(c *train.Config) { c.Trainer.VPredLikeLoss = -1 },
		"-log_with":                                    func(c *train.Config) { c.Logging.With = "wandb" },
		"-log_prefix":                                  func(c *train.Config) { c.Logging.Prefix = "a/b" },
		"-log_tracker_name":                            func(c *train.Config) { c.Logging.TrackerName = ".." },
		"-max_token_length":                            func(c *train.Config) { c.MaxTokenLength = 76 },
		"-output_dir":                                  func(c *train.Config) { c.OutputDir = "" },
		"-output_name":                                 func(c *train.Config) { c.OutputName = "a/b" },
		"-sample_prompts":                              func(c *train.Config) { c.SampleAtFirst = true },
		"-sample_sampler": func(c *train.Config) {
			c.SampleAtFirst, c.SamplePrompts, c.SampleSampler = true, "kohya_test.go", "nobody's"
		},
		"-learning_rate":   func(c *train.Config) { c.LearningRate = 2 },
		"-mixed_precision": func(c *train.Config) { c.MixedPrecision = "int4" },
		"-network_args down_lr_weight, mid_lr_weight or up_lr_weight": func(c *train.Config) { c.Network.BlockLRWeight = []float64{1} },
	} {
		c := train.Config{LearningRate: 1e-4, OutputDir: t.TempDir()}
		spoil(&c)
		var found bool
		for _, err := range train.Run(t.Context(), c) {
			flags := Flags(err.Error())
			for _, e := range invalid.Fields(err) {
				found = found || flags[e.Field] == want
				if flags[e.Field] == "" || !strings.HasPrefix(e.Field, "Config.") {
					t.Errorf("no option is known for what %v is about", e)
				}
			}
			if !found {
				t.Errorf("%s: %v", want, err)
			}
		}
	}
}

// TestConfigReached: every field of a training's configuration is set by an option, but for those that a program sets.
func TestConfigReached(t *testing.T) {
	programs := words(`Device Checkpoint Metadata Dataset.Sets Trainer.Accumulation Trainer.BlockLRWeight Network.BlockLRWeight`)
	var walk func(path string, typ reflect.Type)
	walk = func(path string, typ reflect.Type) {
		for f := range typ.Fields() {
			field := strings.TrimPrefix(path+"."+f.Name, ".")
			switch {
			case !f.IsExported() || programs[field]:
			case f.Anonymous:
				walk(path, f.Type)
			case f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[dataset.Size]():
				walk(field, f.Type)
			case names[field] == "":
				t.Errorf("no option sets %s", field)
			}
		}
	}
	walk("", reflect.TypeFor[train.Config]())
	programs["Set.Subsets"] = true
	walk("Set", reflect.TypeFor[dataset.Set]())
}

// TestTags: the keys by which states know options are the options' names, but for those that states had before.
func TestTags(t *testing.T) {
	older := map[string]string{"debiased_estimation_loss": "debiased_estimation", "scale_v_pred_loss_like_noise_pred": "scale_v_pred_loss", "train_batch_size": "batch_size", "autosave_every_n_minutes": "autosave_every"}
	for _, g := range append(slices.Clone(table), group{"network_args", networkArguments}, group{"dataset_config", datasetOptions}) {
		for _, o := range g.options {
			tag := o.tag()
			if want := cmp.Or(older[o.name], o.name); tag != "" && tag != want {
				t.Errorf("%s has the key %s", o.name, tag)
			}
		}
	}
}

// tag is the key of the option's field, "" for none.
func (o *option) tag() string {
	typ, tag := reflect.TypeFor[settings](), ""
	if o.field == "" {
		return ""
	}
	for name := range strings.SplitSeq(o.field, ".") {
		field, _ := typ.FieldByName(name)
		typ, tag = field.Type, field.Tag.Get("json")
	}
	key, _, _ := strings.Cut(tag, ",")
	return key
}
