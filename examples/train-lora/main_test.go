package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atelier-go/atelier/examples/internal/cli"
	"github.com/atelier-go/atelier/examples/internal/program"
	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/tinyportrait"
	"github.com/atelier-go/atelier/weights"
)

const photos = "../../tinyportrait/photos"

// trained checks a LoRA's metadata and that both networks were trained.
func trained(t *testing.T, path string, metadata map[string]string) {
	t.Helper()
	f, err := weights.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for key, want := range metadata {
		if got := f.Metadata()[key]; got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	for _, prefix := range []string{"lora_te_", "lora_unet_"} {
		found := false
		for _, name := range f.Names() {
			found = found || strings.HasPrefix(name, prefix)
		}
		if !found {
			t.Errorf("no tensor begins with %s", prefix)
		}
	}
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	args := []string{"-data", photos, "-output_dir", dir, "-output", "person", "--max_train_steps", "2", "--network_dim=4", "-threads", "2", "-scale_weight_norms", "1"}
	var log strings.Builder
	if err := run(t.Context(), args, &log); err != nil {
		t.Fatal(err)
	}
	trained(t, filepath.Join(dir, "person.safetensors"), map[string]string{"ss_network_dim": "4", "ss_output_name": "person", "ss_unet_lr": "0.0001", "ss_text_encoder_lr": "5e-05"})
	for _, want := range []string{"built-in tiny portrait model", "device: cpu", "pictures × 12 repeats", "steps: 2 = max_train_steps 2", "steps: 100%|██████████| 2/2 [00:", "Average key norm=", ", Keys Scaled=", ", avr_loss=0.", "model saved"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, log.String())
		}
	}
}

// TestConfig trains what the GUI's JSON says, all but what the command line says.
func TestConfig(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "person.json")
	form := fmt.Sprintf(`{"LoRA_type": "Standard", "train_data_dir": %q, "output_dir": %q, "output_name": "person", "max_resolution": "128,128",
		"min_bucket_reso": 64, "max_train_steps": "9", "network_dim": 6, "network_alpha": "3", "lr_warmup": 0, "xformers": true, "mixed_precision": "fp16"}`,
		filepath.ToSlash(photos), filepath.ToSlash(dir))
	if err := os.WriteFile(config, []byte(form), 0o644); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	if err := run(t.Context(), []string{"-config", config, "-max_train_steps", "1"}, &log); err != nil {
		t.Fatal(err)
	}
	trained(t, filepath.Join(dir, "person.safetensors"), map[string]string{
		"ss_network_dim": "6", "ss_network_alpha": "3.0", "ss_max_train_steps": "1", "ss_lr_scheduler": "cosine", "ss_mixed_precision": "fp16",
	})
	for _, want := range []string{"without effect here: ", "xformers", "mixed_precision fp16"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, log.String())
		}
	}
}

func TestErrors(t *testing.T) {
	captions := filepath.Join(t.TempDir(), "training")
	if err := os.MkdirAll(filepath.Join(captions, "2_a man"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, say string
		args      []string
	}{
		{"no data", "train_data_dir", nil},
		{"an argument", "unexpected", []string{"training"}},
		{"a misspelling", "near it: network_dim", []string{"-network_dims", "4"}},
		{"no such folder", "nowhere", []string{"-data", "nowhere"}},
		{"the folder itself", "12_personname man", []string{"-data", photos + "/12_personname man"}},
		{"an empty folder", "2_a man", []string{"-data", captions}},
		{"no such model", "nowhere.safetensors", []string{"-data", photos, "-model", "nowhere.safetensors"}},
		{"no such file", "nowhere.json", []string{"-config", "nowhere.json"}},
		{"a file of something else", "main.go", []string{"-config", "main.go"}},
		{"rate", "unet_lr", []string{"-data", photos, "-unet_lr", "NaN"}},
		{"large rate", "-unet_lr is 5, want a number up to 1", []string{"-data", photos, "-unet_lr", "5"}},
		{"ranks of no file", "-network_weights, want the file to continue from", []string{"-data", photos, "-dim_from_weights"}},
		{"rank", "network_dim", []string{"-data", photos, "-network_dim", "0"}},
		{"precision", "-save_precision", []string{"-data", photos, "-save_precision", "int8"}},
		{"schedule", "lr_scheduler", []string{"-data", photos, "-lr_scheduler", "cosinus"}},
		{"optimizer", "optimizer_type", []string{"-data", photos, "-optimizer_type", "Adamant"}},
		{"device", "gpu", []string{"-data", photos, "-device", "gpu"}},
		{"threads", "-threads is -1", []string{"-data", photos, "-threads", "-1"}},
		{"nothing to resume", "-resume latest", []string{"-data", photos, "-resume", "latest"}},
		{"no prompts", "sample_prompts", []string{"-data", photos, "-sample_every_n_steps", "1"}},
		{"LyCORIS", "network_module", []string{"-data", photos, "-network_module", "lycoris.kohya"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			err := run(t.Context(), append([]string{"-output_dir", dir}, c.args...), io.Discard)
			if err == nil || !strings.Contains(strings.ToLower(err.Error()), c.say) {
				t.Errorf("the error %v does not say %q", err, c.say)
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("%s was left behind", left[0].Name())
			}
			if cli.Status(err) != 1 {
				t.Errorf("the program exits with %d, want 1", cli.Status(err))
			}
		})
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := run(ctx, []string{"-data", photos, "-output_dir", t.TempDir()}, io.Discard)
	if cli.Status(err) != 130 {
		t.Errorf("%v: the program exits with %d, want 130", err, cli.Status(err))
	}
}

// TestInterruptedLate interrupts after some steps: what was learned is there, and the error says where.
func TestInterruptedLate(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	args := []string{"-data", photos, "-output_dir", dir, "-max_train_steps", "5", "-resolution", "64", "-min_bucket_reso", "64", "-train_batch_size", "1", "-network_dim", "2"}
	err := run(ctx, args, &interrupter{after: "steps:  ", cancel: cancel})
	stopped, ok := errors.AsType[*train.InterruptedError](err)
	if !ok || cli.Status(err) != 130 {
		t.Fatalf("%v: exit %d, want an interruption and 130", err, cli.Status(err))
	}
	if !strings.Contains(err.Error(), stopped.Path) {
		t.Errorf("the error %q does not say %q", err, stopped.Path)
	}
	trained(t, stopped.Path, map[string]string{"ss_steps": fmt.Sprint(stopped.Step)})
	if err := run(t.Context(), append(args, "-resume", "latest", "-seed", "1"), io.Discard); err == nil || !strings.Contains(err.Error(), "seed") {
		t.Errorf("resumed with another seed: %v", err)
	}
	var rest strings.Builder
	if err := run(t.Context(), append(args, "-resume", "latest"), &rest); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(rest.String(), " 1/5 ") || !strings.Contains(rest.String(), " 5/5 ") {
		t.Errorf("resumed after step %d, the bar shows\n%s", stopped.Step, rest.String())
	}
	trained(t, filepath.Join(dir, "last.safetensors"), map[string]string{"ss_steps": "5"})
}

// TestSamples draws pictures of prompts that a GUI's JSON has in itself.
func TestSamples(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "person.json")
	form := fmt.Sprintf(`{"LoRA_type": "Standard", "train_data_dir": %q, "output_dir": %q, "output_name": "person", "max_resolution": "64,64", "bucket_no_upscale": false,
		"min_bucket_reso": 64, "max_train_steps": 1, "network_dim": 2, "lr_warmup": 0, "sample_every_n_steps": 1,
		"sample_prompts": "photo of personname man --w 64 --h 64 --s 1 --d 7\nphoto of a man --w 64 --h 64 --s 2 --ss ddim"}`,
		filepath.ToSlash(photos), filepath.ToSlash(dir))
	if err := os.WriteFile(config, []byte(form), 0o644); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	if err := run(t.Context(), []string{"-config", config, "-sample_at_first"}, &log); err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"person_e000000_00_*_7.png", "person_e000000_01_*.png", "person_000001_00_*_7.png", "person_000001_01_*.png"} {
		if found, _ := filepath.Glob(filepath.Join(dir, "sample", pattern)); len(found) != 1 {
			t.Errorf("%d pictures are called %s, want one; the log is\n%s", len(found), pattern, log.String())
		}
	}
	if want := "sample picture: " + filepath.Join(dir, "sample", "person_"); !strings.Contains(log.String(), want) {
		t.Errorf("the log does not say %q:\n%s", want, log.String())
	}
}

// TestDenied says of a model that predicts v that it does not.
func TestDenied(t *testing.T) {
	model := t.TempDir()
	if err := os.CopyFS(model, tinyportrait.FS()); err != nil {
		t.Fatal(err)
	}
	config := `{"prediction_type": "v_prediction", "rescale_betas_zero_snr": true}`
	if err := os.WriteFile(filepath.Join(model, "scheduler", "scheduler_config.json"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"v_parameterization", "zero_terminal_snr"} {
		err := run(t.Context(), []string{"-data", photos, "-model", model, "-output_dir", t.TempDir(), "-" + name + "=false"}, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "-"+name+" is false, but "+model) || !strings.Contains(err.Error(), "scheduler_config.json") {
			t.Errorf("-%s=false: %v", name, err)
		}
	}
}

// interrupter cancels when a text is written.
type interrupter struct {
	after  string
	cancel func()
}

func (i *interrupter) Write(p []byte) (int, error) {
	if strings.Contains(string(p), i.after) {
		i.cancel()
	}
	return len(p), nil
}

func TestHelp(t *testing.T) {
	for _, c := range []struct {
		args []string
		says []string
	}{
		{[]string{"-h"}, []string{"-model PATH", "-data FOLDER", "-threads N", "-network_dim", "Model and pictures", "-text-encoder"}},
		{[]string{"--help", "all"}, []string{"-network_dim", "-huber_schedule", "-lr_scheduler_args"}},
	} {
		var b strings.Builder
		if err := run(t.Context(), c.args, &b); !errors.Is(err, flag.ErrHelp) {
			t.Errorf("%s: %v", c.args, err)
		}
		for _, want := range c.says {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s does not say %q", c.args, want)
			}
		}
		if len(c.args) == 1 {
			program.Help(t, "train-lora", b.String())
		}
	}
}

// TestEscapes wants names from strangers printed without what a terminal would obey.
func TestEscapes(t *testing.T) {
	data := t.TempDir()
	if err := os.CopyFS(filepath.Join(data, "1_a\x1b[2Jman"), os.DirFS(filepath.Join(photos, "1_man"))); err != nil {
		t.Skip(err) // Windows has no such names
	}
	var log strings.Builder
	if err := run(t.Context(), []string{"-data", data, "-output_dir", t.TempDir(), "-max_train_steps", "1", "-resolution", "64", "-min_bucket_reso", "64"}, &log); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(log.String(), "\x1b") || !strings.Contains(log.String(), `1_a\x1b[2Jman`) {
		t.Errorf("it prints\n%q", log.String())
	}
}

// TestOutput names the LoRA and its folder at once.
func TestOutput(t *testing.T) {
	for _, c := range []struct{ output, dir, name string }{
		{"person", ".", "person"},
		{"person.safetensors", ".", "person"},
		{filepath.Join("a b", "c", "person_v1.5"), filepath.Join("a b", "c"), "person_v1.5"},
	} {
		parsed, err := parse([]string{"-output", c.output}, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if dir, name := parsed.options.Value("output_dir"), parsed.options.Value("output_name"); dir != c.dir || name != c.name {
			t.Errorf("%s: folder %q, name %q", c.output, dir, name)
		}
	}
}

// TestParts wants a checkpoint without a text encoder answered by a flag that there is.
func TestParts(t *testing.T) {
	unet := filepath.Join("..", "..", "tinyportrait", "model", "unet")
	err := run(t.Context(), []string{"-model", unet, "-data", photos, "-output_dir", t.TempDir(), "-resolution", "64", "-min_bucket_reso", "64"}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "-text-encoder, want") {
		t.Fatalf("have %v, want -text-encoder", err)
	}
	tiny := filepath.Join("..", "..", "tinyportrait", "model")
	args := []string{"-model", unet, "-text-encoder", tiny, "-vae", tiny, "-data", photos, "-output_dir", t.TempDir(), "-resolution", "64", "-min_bucket_reso", "64", "-max_train_steps", "1"}
	if err := run(t.Context(), args, io.Discard); err != nil {
		t.Error(err)
	}
}

// TestTooLarge wants a training refused that a container's limit has no room for.
func TestTooLarge(t *testing.T) {
	defer func(limit func() (uint64, error)) { cli.MemoryLimit = limit }(cli.MemoryLimit)
	cli.MemoryLimit = func() (uint64, error) { return 1 << 20, nil }
	var log strings.Builder
	err := run(t.Context(), []string{"-data", photos, "-output_dir", t.TempDir()}, &log)
	if err == nil || !strings.Contains(err.Error(), "allows 1 MB") || strings.Contains(log.String(), "steps:  ") || cli.Status(err) != 1 {
		t.Errorf("%v, after %q", err, log.String())
	}
}

func TestBar(t *testing.T) {
	for _, c := range []struct {
		name string
		step time.Duration
		done int
		want string
	}{
		{"slow", 2 * time.Second, 150, "steps:  12%|█         | 150/1296 [05:00<38:12,  2.00s/it, avr_loss=0.0953]"},
		{"fast", 500 * time.Millisecond, 648, "steps:  50%|█████     | 648/1296 [05:24<05:24,  2.00it/s, avr_loss=0.0953]"},
		{"hours", time.Minute, 1296, "steps: 100%|██████████| 1296/1296 [21:36:00<00:00, 60.00s/it, avr_loss=0.0953]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out strings.Builder
				b := newBars(&out)
				b.latents.Live, b.steps.Live = true, true
				b.show(train.LatentsCached{Done: 1, Total: 1})
				for i := range c.done {
					time.Sleep(c.step)
					b.show(train.StepDone{Step: i + 1, Steps: 1296, AverageLoss: 0.09534})
				}
				if got := strings.TrimRight(out.String()[strings.LastIndex(out.String(), "\r")+1:], " "); got != c.want {
					t.Errorf("have %q\nwant %q", got, c.want)
				}
			})
		})
	}
}

// TestInOptions says by their options what warnings of the library say of fields.
func TestInOptions(t *testing.T) {
	text := "Config.LRWarmupSteps 100 and Bucketing.MinReso; CaptionOptions.Prefix. Config.Device, x.Y"
	if have, want := inOptions("sd: Request.Width is 100000"), "sd: --w is 100000"; have != want {
		t.Errorf("%q, want %q", have, want)
	}
	if have, want := inOptions(text), "-lr_warmup_steps 100 and -min_bucket_reso; -caption_prefix. Config.Device, x.Y"; have != want {
		t.Errorf("%q, want %q", have, want)
	}
}
