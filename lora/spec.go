package lora

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/atelier-go/atelier/internal/python"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/weights"
)

// The values of ss_base_model_version for Stable Diffusion 1.x, by what the UNet predicts.
const versionEpsilon, versionV = "sd_v1", "sd_v1_v"

// Product is what our files have where others name the version of their program.
const Product = "atelier"

// extremes are ss_network_dim and ss_network_alpha of modules: numbers if all have the same, else "Dynamic".
func extremes(modules []Module) (dim, alpha string) {
	const dynamic = "Dynamic"
	for i := range modules {
		l, _ := modules[i].Delta.(LowRank)
		d, a := strconv.Itoa(modules[i].Rank()), python.String(l.Alpha)
		if i == 0 {
			dim, alpha = d, a
		}
		if d != dim {
			dim = dynamic
		}
		if a != alpha {
			alpha = dynamic
		}
	}
	return dim, alpha
}

// describeMade makes the metadata of an adapter that was made of other files, for a base model of the given version.
func describeMade(modules []Module, version string, sources []string) map[string]string {
	if version == "" {
		version = versionEpsilon
	}
	m := map[string]string{"ss_network_module": "networks.lora", "ss_v2": "False", "ss_base_model_version": version}
	m["ss_network_dim"], m["ss_network_alpha"] = extremes(modules)
	Specify(m, sources...)
	return m
}

// Specify writes the ModelSpec block of a LoRA into its metadata, but for the title, which the one who writes the file knows.
// What the LoRA was made of is named; resolution and prediction type stay where they are given.
func Specify(metadata map[string]string, sources ...string) {
	specify(metadata, "stable-diffusion-v1/lora", "diffusers", sources)
}

// specify writes a ModelSpec block. See https://github.com/Stability-AI/ModelSpec.
func specify(m map[string]string, architecture, implementation string, sources []string) {
	m["modelspec.sai_model_spec"] = "1.0.1"
	m["modelspec.architecture"] = architecture
	m["modelspec.implementation"] = implementation
	m["modelspec.implementation_version"] = Product
	m["modelspec.date"] = time.Now().Format("2006-01-02T15:04:05")
	delete(m, "modelspec.hash_sha256") // it is the hash of the file as it was before
	prediction := "epsilon"
	if m["ss_base_model_version"] == versionV {
		prediction = "v"
	}
	for key, otherwise := range map[string]string{"modelspec.resolution": "512x512", "modelspec.prediction_type": prediction} {
		if m[key] == "" {
			m[key] = otherwise
		}
	}
	if len(sources) > 0 {
		m["modelspec.merged_from"] = strings.Join(sources, ", ")
	}
}

// MergedMetadata makes the metadata of a checkpoint into which adapters were merged: the checkpoint's own with a ModelSpec
// block in which merged_from names the checkpoint and the adapters. The key modelspec.title is left as it is.
func MergedMetadata(c *weights.Checkpoint, adapters ...Applied) map[string]string {
	m, sources := c.Metadata(), []string{stem(c.Path())}
	for _, a := range adapters {
		sources = append(sources, stem(a.Path))
	}
	if c.Prediction().Type == sampler.VPrediction {
		m["modelspec.prediction_type"] = "v"
	}
	implementation := "diffusers"
	if info, err := os.Stat(c.Path()); err == nil && !info.IsDir() {
		implementation = "sgm"
	}
	specify(m, "stable-diffusion-v1", implementation, sources)
	return m
}

// stem is a file's name without folder and extension.
func stem(path string) string { return strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)) }
