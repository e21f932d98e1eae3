package train

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/atelier-go/atelier/internal/python"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/dataset"
)

// TestOverdue lists the minutes after which a state is saved besides.
func TestOverdue(t *testing.T) {
	for every, want := range map[time.Duration]string{
		10 * time.Minute: "[1 2 4 8 16 26 36]", 3 * time.Minute: "[1 2 4 7 10 13 16 19 22 25 28 31 34 37 40]", -1: "[]",
	} {
		begun := time.Now()
		s := saver{config: Config{AutosaveEvery: every}, begun: begun, safe: begun}
		saved := []int{}
		for minute := range 41 {
			if now := begun.Add(time.Duration(minute) * time.Minute); s.overdue(now) {
				s.safe, saved = now, append(saved, minute)
			}
		}
		if fmt.Sprint(saved) != want {
			t.Errorf("every %v: saved after %v minutes, want %v", every, saved, want)
		}
	}
}

// TestSaves counts which files remain, as acceptance tables of sd-scripts' behaviour have it.
func TestSaves(t *testing.T) {
	for _, c := range []struct {
		name          string
		cfg           Config
		epochs, steps int // done, of which the last epoch saves under the final name
		want          string
	}{
		{"every 2 epochs", Config{SaveEveryNEpochs: 2}, 10, 0, "x-000002 x-000004 x-000006 x-000008"},
		{"every epoch, the last 3", Config{SaveEveryNEpochs: 1, SaveLastNEpochs: 3}, 6, 0, "x-000003 x-000004 x-000005"},
		{"every 10 steps, the last 30", Config{SaveEveryNSteps: 10, SaveLastNSteps: 30}, 0, 50,
			"x-step00000020 x-step00000030 x-step00000040 x-step00000050"},
		{"a third of the epochs", Config{SaveEveryNEpochs: 1, SaveNEpochRatio: 3}, 10, 0, "x-000003 x-000006 x-000009"},
		{"more often than there are epochs", Config{SaveNEpochRatio: 30}, 4, 0, "x-000001 x-000002 x-000003"},
		{"never", Config{}, 10, 100, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.OutputDir, c.cfg.OutputName = t.TempDir(), "x"
			happen := func(s series, n, keep int) {
				if !s.has(n) {
					return
				}
				if err := errors.Join(os.WriteFile(s.path(n), nil, 0o666), s.remove(n, keep, s.path)); err != nil {
					t.Fatal(err)
				}
			}
			for epoch := 1; epoch < c.epochs; epoch++ {
				happen(c.cfg.epochSeries(c.epochs), epoch, c.cfg.SaveLastNEpochs)
			}
			for step := 1; step <= c.steps; step++ {
				happen(c.cfg.stepSeries(), step, c.cfg.SaveLastNSteps)
			}
			entries, err := os.ReadDir(c.cfg.OutputDir)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range entries {
				got = append(got, strings.TrimSuffix(e.Name(), extension))
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("files are %q, want %q", got, c.want)
			}
		})
	}
}

func TestOptionsNotGiven(t *testing.T) {
	for _, c := range []struct{ have, want any }{
		{optional(0), nil}, {optional(0.5), 0.5}, {optional(""), nil}, {optional("x"), "x"}, {numeric(""), 0}, {numeric("10%"), "10%"},
	} {
		if c.have != c.want {
			t.Errorf("got %v, want %v", c.have, c.want)
		}
	}
}

func TestBucketInfo(t *testing.T) {
	report := dataset.Report{
		Sets:    []dataset.SetReport{{}, {MeanARError: 0.02777777777777779}},
		Buckets: []dataset.BucketReport{{Resolution: dataset.Size{W: 64, H: 64}, Count: 3}, {Dataset: 1, Resolution: dataset.Size{W: 448, H: 576}, Count: 1}},
	}
	want := `{"buckets": {"0": {"resolution": [448, 576], "count": 1}}, "mean_img_ar_error": 0.02777777777777779}`
	if got := python.JSON(bucketsOf(report, 1, dataset.Bucketing{Enable: true})); got != want {
		t.Errorf("ss_bucket_info is %s, want %s", got, want)
	}
	if got := python.JSON(bucketsOf(report, 1, dataset.Bucketing{})); got != "null" {
		t.Errorf("without buckets ss_bucket_info is %s, want null", got)
	}
}

// TestDescribeFile has the two hashes that sd-scripts' model_hash and calculate_sha256 give of a file.
func TestDescribeFile(t *testing.T) {
	m := make(map[string]any)
	if err := describeFile(t.Context(), m, "name", "hash", "new", "../../tinyportrait/model/vae/diffusion_pytorch_model.safetensors"); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"name": "diffusion_pytorch_model.safetensors", "hash": "69c76063", "new": "21931ea84b25dad840544b286e96ad68c806373c4fd888f062b402b6ca0fa786"}
	if !maps.Equal(m, want) {
		t.Errorf("%v, want %v", m, want)
	}
}

// TestAverage takes two batches an epoch: 0.1 and 0.3, then 0.5.
func TestAverage(t *testing.T) {
	var a average
	if !math.IsNaN(a.mean()) {
		t.Errorf("of nothing it is %v, want NaN", a.mean())
	}
	for _, c := range []struct{ loss, want float64 }{{0.1, 0.1}, {0.3, 0.2}, {0.5, 0.4}, {0.7, 0.6}, {0.1, 0.4}} {
		if a.add(c.loss, 2); math.Abs(a.mean()-c.want) > 1e-12 {
			t.Errorf("after %v it is %v, want %v", c.loss, a.mean(), c.want)
		}
	}
}

// TestRates chooses what is trained by the rates that are given.
func TestRates(t *testing.T) {
	for _, c := range []struct {
		name               string
		cfg                Config
		text, unet         float64
		textOnly, unetOnly bool
	}{
		{"both from learning_rate", Config{LearningRate: 1e-4}, 1e-4, 1e-4, false, false},
		{"each its own", Config{LearningRate: 1, UNetLR: 1e-4, TextEncoderLR: 5e-5}, 5e-5, 1e-4, false, false},
		{"UNet alone", Config{LearningRate: 1, UNetLR: 1e-4}, 0, 1e-4, false, true},
		{"text encoder alone", Config{TextEncoderLR: 5e-5}, 5e-5, 0, true, false},
		{"UNet by option", Config{LearningRate: 1e-4, Network: lora.Network{UNetOnly: true}}, 0, 1e-4, false, true},
		{"text encoder by option", Config{LearningRate: 1e-4, Network: lora.Network{TextEncoderOnly: true}}, 1e-4, 0, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.cfg.defaults()
			if got.TextEncoderLR != c.text || got.UNetLR != c.unet || got.Network.TextEncoderOnly != c.textOnly || got.Network.UNetOnly != c.unetOnly {
				t.Errorf("text encoder %v (alone %v), UNet %v (alone %v); want %v (%v), %v (%v)", got.TextEncoderLR, got.Network.TextEncoderOnly,
					got.UNetLR, got.Network.UNetOnly, c.text, c.textOnly, c.unet, c.unetOnly)
			}
		})
	}
}
