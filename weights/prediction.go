package weights

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/internal/python"
	"github.com/atelier-go/atelier/sampler"
)

// Prediction is what the UNet predicts and where that was read. It cannot be seen from the weights.
type Prediction struct {
	Type    sampler.Prediction
	ZeroSNR bool   // betas are to be rescaled to zero terminal signal-to-noise ratio (arXiv:2305.08891)
	Source  string // "option", "scheduler_config.json", "metadata", "marker tensor", "YAML beside the file" or "default"
}

// readPrediction asks, in order of trust: the user, the scheduler's configuration, the file's metadata,
// marker tensors, a YAML file beside the checkpoint.
func (s *source) readPrediction(option sampler.Prediction, scheduler []byte) (Prediction, error) {
	var config struct {
		Type    sampler.Prediction `json:"prediction_type"`
		ZeroSNR bool               `json:"rescale_betas_zero_snr"`
	}
	if scheduler != nil {
		if err := json.Unmarshal(python.PlainJSON(scheduler), &config); err != nil {
			return Prediction{}, fmt.Errorf("weights: %s: scheduler_config.json: %w", s.path, err)
		}
	}
	marker := func(name string) bool { return slices.Contains(s.ignored, name) }
	var stated, marked sampler.Prediction
	if len(s.files) > 0 {
		stated = sampler.Prediction(s.files[0].metadata["modelspec.prediction_type"])
		if stated == "v" {
			stated = sampler.VPrediction
		}
	}
	if marker("v_pred") {
		marked = sampler.VPrediction
	}
	zeroSNR := config.ZeroSNR || marker("ztsnr")
	for _, from := range []struct {
		typ    sampler.Prediction
		source string
	}{{option, "option"}, {config.Type, "scheduler_config.json"}, {stated, "metadata"}, {marked, "marker tensor"}, {s.readYAML(), "YAML beside the file"}} {
		switch from.typ {
		case "":
		case sampler.Epsilon, sampler.VPrediction, sampler.Sample:
			return Prediction{from.typ, zeroSNR, from.source}, nil
		default:
			return Prediction{}, fmt.Errorf("weights: %s: prediction type %.40q (%s) is none of epsilon, v_prediction and sample; correct it there", s.path, from.typ, from.source)
		}
	}
	return Prediction{sampler.Epsilon, zeroSNR, "default"}, nil
}

var yamlV = regexp.MustCompile(`(?m)^\s*parameterization:\s*["']?v["']?\s*(#.*)?$`)

// readYAML looks into the configuration some v-prediction checkpoints are passed on with: the file's
// name with the extension .yaml.
func (s *source) readYAML() sampler.Prediction {
	base := strings.TrimSuffix(s.path, filepath.Ext(s.path))
	d := folder{os.DirFS(filepath.Dir(s.path)), filepath.Dir(s.path)}
	text, err := d.read(filepath.Base(base)+".yaml", maxConfigBytes)
	if err == nil && yamlV.Match(text) {
		return sampler.VPrediction
	}
	return ""
}
