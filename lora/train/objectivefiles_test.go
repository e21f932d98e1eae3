package train_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/lora/internal/loratest"
	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/weights"
)

// scheduled is tiny-random in a folder whose scheduler_config.json has further keys.
func scheduled(t *testing.T, keys string) *weights.Checkpoint {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(loratest.TinyRandom(t), "model"))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "scheduler", "scheduler_config.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	config := make(map[string]any)
	if err := errors.Join(json.Unmarshal(data, &config), json.Unmarshal([]byte("{"+keys+"}"), &config)); err != nil {
		t.Fatal(err)
	}
	if data, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	replaceFile(t, path, strings.ReplaceAll(string(data), `"-Infinity"`, "-Infinity")) // as Python writes it
	ckpt, err := weights.Open(dir, weights.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ckpt.Close() })
	return ckpt
}

// TestScheduleOfFiles trains what the scheduler of a checkpoint says, as if the options said it.
func TestScheduleOfFiles(t *testing.T) {
	long(t)
	said := trainConfig(t, 2)
	said.Trainer.VParameterization, said.Trainer.ZeroTerminalSNR = true, true
	cfg := trainConfig(t, 2)
	cfg.Checkpoint = scheduled(t, `"prediction_type": "v_prediction", "rescale_betas_zero_snr": true`)
	var started []train.Started
	a, b := mustTrain(t, cfg, collect(&started)), mustTrain(t, said)
	if a.Hash != b.Hash {
		t.Error("the factors are not those of v_parameterization and zero_terminal_snr")
	}
	for key, want := range map[string]string{"ss_base_model_version": "sd_v1_v", "modelspec.prediction_type": "v", "ss_zero_terminal_snr": "True"} {
		if a.Metadata[key] != want {
			t.Errorf("%s is %q, want %q", key, a.Metadata[key], want)
		}
	}
	if say := "predicts v, noise with zero terminal SNR"; !strings.Contains(started[0].Report.String(), say) {
		t.Errorf("the report lacks %q:\n%v", say, started[0].Report)
	}

	other := trainConfig(t, 2)
	other.Checkpoint = scheduled(t, `"beta_start": 0.001, "lambda_min_clipped": "-Infinity"`)
	if a, b := mustTrain(t, other), mustTrain(t, trainConfig(t, 2)); a.Hash == b.Hash {
		t.Error("other betas make no difference")
	}
}

// TestScheduleContradicts asks for what the files deny.
func TestScheduleContradicts(t *testing.T) {
	long(t)
	for _, c := range []struct {
		keys   string
		change func(o *train.Options)
		field  string // or what the error says
	}{
		{`"prediction_type": "epsilon"`, func(o *train.Options) { o.VParameterization = true }, "Config.Trainer.VParameterization"},
		{`"rescale_betas_zero_snr": false`, func(o *train.Options) { o.ZeroTerminalSNR = true }, "Config.Trainer.ZeroTerminalSNR"},
		{`"prediction_type": "v_prediction"`, func(o *train.Options) { o.VPredLikeLoss = 1 }, "Config.Trainer.VPredLikeLoss"},
		{`"prediction_type": "sample"`, func(o *train.Options) {}, "training knows epsilon and v_prediction"},
	} {
		cfg := trainConfig(t, 1)
		cfg.Checkpoint = scheduled(t, c.keys)
		c.change(&cfg.Trainer)
		err := run(t.Context(), cfg)
		if err == nil || !strings.Contains(err.Error(), c.field) {
			t.Errorf("%s: the error is %v, want %q in it", c.keys, err, c.field)
		}
		if fields := invalid.Fields(err); strings.HasPrefix(c.field, "Config.") && (len(fields) != 1 || fields[0].Field != c.field) {
			t.Errorf("%s: the fields are %v, want %s", c.keys, fields, c.field)
		}
	}
}
