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
	"strings"

	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/weights"
)

// settings is what diffusers and PEFT write about one network's part of an adapter: their files have no alpha tensors.
type settings struct {
	loraAlpha    *float64
	rank         float64   // the rank where the tensors of a module do not tell
	alphaPattern []pattern // in the order of the file, the first that matches counting
	rankPattern  []pattern
	feedForward  modules // IA3's, which multiplies their inputs
	cayleySeries *bool
	cayleyTerms  *int // how many terms the series has
	rsLoRA       bool // the scale is alpha/√r: Kalajdzievski, "A Rank Stabilization Scaling Factor" (arXiv:2312.03732)
}

// pattern gives modules of matching names their own alpha or rank.
type pattern struct {
	module *regexp.Regexp
	value  float64
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
		var err error
		prefixed = false
		if where, data, err = readConfig(f.Path()); err != nil {
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

// readConfig reads PEFT's configuration of a file: the one that has the file's name, as copies kept in one folder have it,
// if it is PEFT's, else adapter_config.json. There may be none.
func readConfig(file string) (path string, data []byte, err error) {
	for _, path = range []string{strings.TrimSuffix(file, filepath.Ext(file)) + ".json", filepath.Join(filepath.Dir(file), "adapter_config.json")} {
		data, err = openfile.ReadFile(path, 1<<20)
		own := filepath.Base(path) == "adapter_config.json"
		if err == nil && (own || bytes.Contains(data, []byte(`"peft_type"`))) || own {
			break
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return path, nil, nil
	}
	return path, data, err
}

// read takes the settings from the fields whose names begin with prefix.
func (s *settings) read(fields map[string]json.RawMessage, prefix string) (err error) {
	for name, into := range map[string]any{
		"lora_alpha": &s.loraAlpha, "alpha": &s.loraAlpha, "r": &s.rank, "feedforward_modules": &s.feedForward, "use_rslora": &s.rsLoRA, "use_cayley_neumann": &s.cayleySeries, "num_cayley_neumann_terms": &s.cayleyTerms,
	} {
		if raw, ok := fields[prefix+name]; ok {
			if err := json.Unmarshal(raw, into); err != nil {
				return fmt.Errorf("%s%s: %w", prefix, name, err)
			}
		}
	}
	if s.alphaPattern, err = readPatterns(fields[prefix+"alpha_pattern"]); err != nil {
		return fmt.Errorf("%salpha_pattern: %w", prefix, err)
	}
	if s.rankPattern, err = readPatterns(fields[prefix+"rank_pattern"]); err != nil {
		return fmt.Errorf("%srank_pattern: %w", prefix, err)
	}
	return nil
}

// readPatterns reads an object of numbers by module name, which is a regular expression for the end of it.
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
		if err := d.Decode(&p.value); err != nil {
			return nil, err
		}
		if p.module, err = regexp.Compile(fmt.Sprintf(`^(?:.*\.)?(?:%s)$`, key)); err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// alpha is what a module without an alpha tensor has, in the sense of LowRank.Alpha.
func (s *settings) alpha(module string, rank int) float64 {
	alpha := float64(rank)
	if s.loraAlpha == nil {
		return alpha
	}
	alpha = match(s.alphaPattern, module, *s.loraAlpha)
	if s.rsLoRA {
		alpha *= math.Sqrt(float64(rank))
	}
	return alpha
}

// wholeScale is alpha/rank of a module whose tensors have no rank, 1 if that is not known.
func (s *settings) wholeScale(module string) float64 {
	rank := match(s.rankPattern, module, s.rank)
	if s.loraAlpha == nil || rank == 0 {
		return 1
	}
	return match(s.alphaPattern, module, *s.loraAlpha) / rank
}

// match is the value of the first pattern that matches a module, else the one given.
func match(patterns []pattern, module string, otherwise float64) float64 {
	for _, p := range patterns {
		if p.module.MatchString(module) {
			return p.value
		}
	}
	return otherwise
}

// modules are names of modules as PEFT has them: the ends of names, or one regular expression for the whole.
type modules struct {
	ends  []string
	whole *regexp.Regexp
}

// UnmarshalJSON reads a list or a text.
func (m *modules) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) != nil {
		return json.Unmarshal(data, &m.ends)
	}
	var err error
	m.whole, err = regexp.Compile("^(?:" + text + ")$")
	return err
}

// isFeedForward reports whether a module is one of those whose inputs IA3 multiplies.
func (s *settings) isFeedForward(module string) bool {
	if s.feedForward.whole != nil {
		return s.feedForward.whole.MatchString(module)
	}
	return slices.ContainsFunc(s.feedForward.ends, func(end string) bool { return module == end || strings.HasSuffix(module, "."+end) })
}

// series reports whether PEFT's OFT sums a series, as it does unless told otherwise.
func (s *settings) series() bool { return s.cayleySeries == nil || *s.cayleySeries }

// terms is how many terms the series has.
func (s *settings) terms() int {
	if s.cayleyTerms == nil {
		return 5
	}
	return min(*s.cayleyTerms, 64)
}
