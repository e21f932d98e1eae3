package train_test

import (
	"bufio"
	"encoding/json"
	"github.com/atelier-go/atelier/lora/internal/loratest"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/lora/train"
)

// TestReport asks for the report of a training and compares it with the training.
func TestReport(t *testing.T) {
	cfg := trainConfig(t, 2)
	cfg.Network.Alpha = 4
	var report train.Report
	steps := 0
	cfg.Report = func(r train.Report) { report = r }
	cfg.Progress = func(p train.Progress) {
		if report.Operations == 0 {
			t.Error("progress is told before the report")
		}
		if p.Phase == "steps" {
			steps = p.Total
		}
	}
	a := mustTrain(t, cfg)
	if got := report.Dataset.Steps.Total; got != steps {
		t.Errorf("%d steps are reported, %d done", got, steps)
	}
	if got, want := report.TextEncoder.Modules+report.UNet.Modules, len(a.Modules); got != want {
		t.Errorf("%d modules are reported, %d saved", got, want)
	}
	parameters := 0
	for _, m := range a.Modules {
		parameters += len(loratest.LowRank(m).Down.Data) + len(loratest.LowRank(m).Up.Data)
	}
	if got := report.TextEncoder.Parameters + report.UNet.Parameters; got != parameters {
		t.Errorf("%d parameters are reported, %d saved", got, parameters)
	}
	if u := report.UNet; u.Rate != 1e-3 || u.MinScale != 2 || u.MaxScale != 2 {
		t.Errorf("the UNet is reported as %+v, want a rate of 1e-3 and a scale of 2", u)
	}
	if report.Memory < int64(4*4*parameters) || report.Time <= 0 {
		t.Errorf("memory is %d and time %v, want the factors' %d at least, and a time", report.Memory, report.Time, 4*4*parameters)
	}
	text := report.String()
	for _, say := range []string{"steps: 6 = ", "UNet: ", "learning rate 0.001, scale alpha/rank 2\n", "alpha 4 is above the rank, 2", "memory: about "} {
		if !strings.Contains(text, say) {
			t.Errorf("the report lacks %q:\n%s", say, text)
		}
	}
}

// TestLog reads the lines of a training's log; package tfevents compares event files with TensorBoard's.
func TestLog(t *testing.T) {
	cfg := trainConfig(t, 2)
	cfg.Logging = train.Logging{Dir: filepath.Join(t.TempDir(), "logs"), Prefix: "x-"}
	cfg.Trainer.ScaleWeightNorms, cfg.Dataset.Sets[0].ValidationSplit, cfg.ValidateEveryNEpochs, cfg.ValidateEveryNSteps = 1, 0.34, 1, 3
	var told []train.Progress
	cfg.Progress = func(p train.Progress) {
		if p.Phase == "steps" || p.Phase == "epoch" || p.Phase == "validation" && p.Done == p.Total {
			told = append(told, p)
		}
	}
	mustTrain(t, cfg)
	found, err := filepath.Glob(filepath.Join(cfg.Logging.Dir, "x-??????????????", "network_train", "*"))
	if err != nil || len(found) != 2 || !strings.HasPrefix(filepath.Base(found[0]), "events.out.tfevents.") || filepath.Base(found[1]) != "log.jsonl" {
		t.Fatalf("the log is %q, want an event file and log.jsonl; %v", found, err)
	}
	file, err := os.Open(found[1])
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for _, p := range told {
		if !lines.Scan() {
			t.Fatalf("the log ends before %s of step %d", p.Phase, p.Step)
		}
		var line map[string]any
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		want := map[string]float64{"step": float64(p.Step), "epoch": float64(p.Epoch)}
		switch {
		case p.Phase == "steps":
			want["loss/current"], want["loss/average"], want["norm/gradient"] = p.Loss, p.AverageLoss, p.Norm
			want["lr/unet"], want["lr/textencoder"] = p.Rates.UNet, p.Rates.TextEncoder
			want["max_norm/keys_scaled"], want["max_norm/max_key_norm"], want["norm/avg_key_norm"] = float64(p.KeysScaled), p.MaxKeyNorm, p.AverageKeyNorm
		case p.Phase == "epoch":
			want["loss/epoch_average"] = p.AverageLoss
		case p.EpochEnd:
			want["loss/validation/epoch_average"], want["loss/validation/epoch_divergence"] = p.ValidationLoss, p.ValidationDivergence
		default:
			want["loss/validation/step_average"], want["loss/validation/step_divergence"] = p.ValidationLoss, p.ValidationDivergence
		}
		got := make(map[string]float64)
		for tag, value := range line {
			if number, ok := value.(float64); ok {
				got[tag] = number
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s after step %d: logged is %v, want %v", p.Phase, p.Step, got, want)
		}
	}
	if lines.Scan() {
		t.Errorf("the log goes on with %s", lines.Text())
	}

	for name, l := range map[string]train.Logging{`log_with is "wandb"`: {With: "wandb"}, "names without a folder": {Prefix: "a/b"}} {
		if err := l.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%+v gives %v, want %q in it", l, err, name)
		}
	}
}
