package lora

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/weights"
)

// settings is what diffusers and PEFT write about one network's part of an adapter: their files have no alpha tensors.
type settings struct {
	loraAlpha    *float64
	alphaPattern []pattern // in the order of the file, the first that matches counting
	rsLoRA       bool      // the scale is alpha/√r: Kalajdzievski, "A Rank Stabilization Scaling Factor" (arXiv:2312.03732)
}

// pattern gives modules of matching names their own alpha.
type pattern struct {
	module *regexp.Regexp
	alpha  float64
}

// maxPatterns bounds what a hostile header can cost: more than a model has modules.
const maxPatterns = 4096

// findSettings looks for the settings of both networks: in the header's lora_adapter_metadata, JSON with keys such as
// "unet.lora_alpha", or, for files of PEFT itself, in the adapter_config.json beside the file. Ranks are not read: the
// tensors have them.
func findSettings(f *weights.File) (map[weights.Kind]*settings, error) {
	all := map[weights.Kind]*settings{weights.KindUNet: {}, weights.KindTextEncoder: {}}
	where, data, prefixed := "lora_adapter_metadata", []byte(f.Metadata()["lora_adapter_metadata"]), true
	if len(data) == 0 && slices.ContainsFunc(f.Names(), starting(peftStart)) {
		where, prefixed = filepath.Join(filepath.Dir(f.Path()), "adapter_config.json"), false
		var err error
		if data, err = readConfig(where); err != nil {
			return nil, err
		}
	}
	if len(data) == 0 {
		return all, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	for kind, s := range all {
		prefix := ""
		if prefixed {
			prefix = string(kind) + "."
		}
		if err := s.read(fields, prefix); err != nil {
			return nil, fmt.Errorf("%s: %w", where, err)
		}
	}
	return all, nil
}

// readConfig reads a small file, nothing if it is not there.
func readConfig(path string) ([]byte, error) {
	data, err := openfile.ReadFile(path, 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// read takes the settings from the fields whose names begin with prefix.
func (s *settings) read(fields map[string]json.RawMessage, prefix string) (err error) {
	for name, into := range map[string]any{"lora_alpha": &s.loraAlpha, "use_rslora": &s.rsLoRA} {
		if raw, ok := fields[prefix+name]; ok {
			if err := json.Unmarshal(raw, into); err != nil {
				return fmt.Errorf("%s%s: %w", prefix, name, err)
			}
		}
	}
	if s.alphaPattern, err = readPatterns(fields[prefix+"alpha_pattern"]); err != nil {
		return fmt.Errorf("%salpha_pattern: %w", prefix, err)
	}
	return nil
}

// readPatterns reads an object of alphas by module name, which is a regular expression for the end of it.
func readPatterns(raw json.RawMessage) (list []pattern, err error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, fmt.Errorf("have %.60q, want an object", raw)
	}
	for d.More() {
		if len(list) == maxPatterns {
			return nil, fmt.Errorf("more than %d entries", maxPatterns)
		}
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		p := pattern{}
		if err := d.Decode(&p.alpha); err != nil {
			return nil, err
		}
		if p.module, err = regexp.Compile(fmt.Sprintf(`^(?:.*\.)?(?:%s)$`, key)); err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// alpha is what a module without an alpha tensor has, in the sense of Module.Alpha.
func (s *settings) alpha(module string, rank int) float64 {
	alpha := float64(rank)
	if s.loraAlpha == nil {
		return alpha
	}
	alpha = *s.loraAlpha
	for _, p := range s.alphaPattern {
		if p.module.MatchString(module) {
			alpha = p.alpha
			break
		}
	}
	if s.rsLoRA {
		alpha *= math.Sqrt(float64(rank))
	}
	return alpha
}
