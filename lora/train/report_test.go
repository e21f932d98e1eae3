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
	long(t)
	cfg := trainConfig(t, 2)
	cfg.Network.Alpha = 4
	var report train.Report
	var steps []train.StepDone
	a := mustTrain(t, cfg, collect(&steps), func(e train.Event) {
		if s, ok := e.(train.Started); ok {
			report = s.Report
		}
		if report.Operations == 0 {
			t.Errorf("%+v is told before the report", e)
		}
	})
	if got := report.Dataset.Steps.Total; got != len(steps) || got != steps[0].Steps {
		t.Errorf("%d steps are reported, %d done of %d", got, len(steps), steps[0].Steps)
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
	long(t)
	cfg := trainConfig(t, 2)
	cfg.Logging = train.Logging{Dir: filepath.Join(t.TempDir(), "logs"), Prefix: "x-"}
	cfg.Trainer.ScaleWeightNorms, cfg.Dataset.Sets[0].ValidationSplit, cfg.ValidateEveryNEpochs, cfg.ValidateEveryNSteps = 1, 0.34, 1, 3
	var told []train.Event
	mustTrain(t, cfg, func(e train.Event) {
		switch e.(type) {
		case train.StepDone, train.EpochDone, train.Validated:
			told = append(told, e)
		}
	})
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
	for _, e := range told {
		if !lines.Scan() {
			t.Fatalf("the log ends before %+v", e)
		}
		var line map[string]any
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		var want map[string]float64
		switch e := e.(type) {
		case train.StepDone:
			want = map[string]float64{
				"step": float64(e.Step), "epoch": float64(e.Epoch), "loss/current": e.Loss, "loss/average": e.AverageLoss, "norm/gradient": e.Norm,
				"lr/unet": e.Rates.UNet, "lr/textencoder": e.Rates.TextEncoder,
				"max_norm/keys_scaled": float64(e.KeysScaled), "max_norm/max_key_norm": e.MaxKeyNorm, "norm/avg_key_norm": e.AverageKeyNorm,
			}
		case train.EpochDone:
			want = map[string]float64{"step": float64(e.Step), "epoch": float64(e.Epoch), "loss/epoch_average": e.AverageLoss}
		case train.Validated:
			per := map[bool]string{true: "loss/validation/epoch_", false: "loss/validation/step_"}[e.EpochEnd]
			want = map[string]float64{"step": float64(e.Step), "epoch": float64(e.Epoch), per + "average": e.Loss, per + "divergence": e.Divergence}
		}
		got := make(map[string]float64)
		for tag, value := range line {
			if number, ok := value.(float64); ok {
				got[tag] = number
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%+v: logged is %v, want %v", e, got, want)
		}
	}
	if lines.Scan() {
		t.Errorf("the log goes on with %s", lines.Text())
	}

	for name, l := range map[string]train.Logging{`Logging.With is "wandb"`: {With: "wandb"}, `Logging.Prefix is "a/b", want a name without a folder`: {Prefix: "a/b"}} {
		if err := l.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%+v gives %v, want %q in it", l, err, name)
		}
	}
}
