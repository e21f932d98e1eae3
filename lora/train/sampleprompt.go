package train

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/atelier-go/atelier/internal/tomltree"
	"github.com/atelier-go/atelier/sampler"
)

// SamplePrompt is a picture to draw while training, as a line of sd-scripts' sample_prompts describes it.
type SamplePrompt struct {
	Prompt, NegativePrompt string
	Width, Height          int     // pixels, multiples of 8 from 64; 512 where none are given
	Seed                   *int64  // nil draws another picture each time
	Steps                  int     // 1 to 1000; 30 where none are given
	Guidance               float64 // the guidance scale, 1 (without) or more; 7.5 where none is given
	// Sampler and Spacing are set if the prompt names a sampler, else "".
	Sampler sampler.Sampler
	Spacing sampler.Spacing
}

// newSamplePrompt has the defaults of sd-scripts.
func newSamplePrompt() SamplePrompt {
	return SamplePrompt{Width: 512, Height: 512, Steps: 30, Guidance: 7.5}
}

// The bounds of a file of prompts and of what is in it.
const (
	maxPromptBytes = 1 << 20
	maxPrompts     = 1000
	maxSampleSteps = 1000
)

// ParseSamplePrompts reads a file of prompts; the extension of its name says in which of sd-scripts' three forms it is.
//
// In a .txt each line is a prompt, except empty ones and those that begin with #. Pieces that follow, each after a blank and
// two hyphens, give the rest: "a cat --n blurred --w 512 --h 768 --d 42 --s 28 --l 7.5 --ss euler_a" for negative prompt,
// width, height, seed, steps, guidance and sampler. Of a number with more behind it the
// number counts, as in "--l 7, --w 128px"; pieces that begin with none are ignored, as there.
//
// A .json is a list of prompts or objects with the keys prompt, negative_prompt, width, height, scale, sample_steps, seed and
// sample_sampler. A .toml has the keys that all pictures share in [prompt] and the others in a [[prompt.subset]] for each
// picture. Keys that are none are errors.
//
// Sizes are reduced to multiples of 8, and guidance below 1 is 1, which is without. Samplers that do not exist are errors; see
// ParseSampleSampler.
func ParseSamplePrompts(name string, data []byte) (prompts []SamplePrompt, err error) {
	if len(data) > maxPromptBytes {
		return nil, fmt.Errorf("lora: %s: %d bytes of prompts, want at most %d", name, len(data), maxPromptBytes)
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("lora: %s: not UTF-8; save it in that encoding", name)
	}
	switch extension := strings.ToLower(filepath.Ext(name)); extension {
	case ".txt":
		prompts, err = promptLines(string(data))
	case ".json":
		prompts, err = promptList(data)
	case ".toml":
		prompts, err = promptTables(string(data))
	default:
		err = fmt.Errorf("extension %q; want .txt, .toml or .json", extension)
	}
	if err == nil && len(prompts) == 0 {
		err = errors.New("no prompts in it; write one a line")
	}
	if len(prompts) > maxPrompts {
		err = fmt.Errorf("%d prompts, want at most %d", len(prompts), maxPrompts)
	}
	if err != nil {
		return nil, fmt.Errorf("lora: %s: %w", name, err)
	}
	for i := range prompts {
		p := &prompts[i]
		p.Width, p.Height = max(64, p.Width/8*8), max(64, p.Height/8*8)
		p.Steps, p.Guidance = min(max(1, p.Steps), maxSampleSteps), max(1, p.Guidance)
	}
	return prompts, nil
}

// kohyaSamplers are the names of sd-scripts that no other program has, with the nearest relatives of these methods.
var kohyaSamplers = map[string]sampler.Sampler{
	"dpmsolver": sampler.DPMPP2M, "dpmsolver++": sampler.DPMPP2M, "dpmsingle": sampler.DPMPP2M,
}

// ParseSampleSampler reads the name of a sampler, "sample_sampler": one of sd-scripts (ddim, pndm, lms, euler, euler_a, heun,
// dpm_2, dpm_2_a, dpmsolver, dpmsolver++ and dpmsingle) or any that [sampler.Parse] knows. "" is ddim. The
// dpmsolvers become DPM++ 2M.
func ParseSampleSampler(name string) (sampler.Sampler, sampler.Spacing, error) {
	if s, ok := kohyaSamplers[strings.ToLower(name)]; ok {
		return s, sampler.Automatic, nil
	}
	return sampler.Parse(cmp.Or(name, "ddim"), "")
}

// promptLines reads prompts one a line.
func promptLines(text string) (prompts []SamplePrompt, err error) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		pieces := strings.Split(strings.TrimSpace(line), " --")
		p := newSamplePrompt()
		p.Prompt = strings.TrimSpace(pieces[0])
		for _, piece := range pieces[1:] {
			flag, value, _ := strings.Cut(strings.TrimSpace(piece), " ")
			if err := p.setFlag(strings.ToLower(flag), strings.TrimSpace(value)); err != nil {
				return nil, err
			}
		}
		prompts = append(prompts, p)
	}
	return prompts, nil
}

// wholeNumber and anyNumber are what counts of a flag's value.
var (
	wholeNumber = regexp.MustCompile(`^\d+`)
	anyNumber   = regexp.MustCompile(`^[\d.]+`)
)

// setFlag takes a flag of a line. Only a sampler that does not exist is an error.
func (p *SamplePrompt) setFlag(flag, value string) (err error) {
	whole, wholeErr := strconv.ParseInt(wholeNumber.FindString(value), 10, 63)
	integer := func(into *int) {
		if wholeErr == nil && whole < 1<<31 {
			*into = int(whole)
		}
	}
	switch flag {
	case "n":
		p.NegativePrompt = value
	case "w":
		integer(&p.Width)
	case "h":
		integer(&p.Height)
	case "s":
		if wholeErr == nil || errors.Is(wholeErr, strconv.ErrRange) {
			p.Steps = int(min(whole, maxSampleSteps))
		}
	case "d":
		if wholeErr == nil {
			p.Seed = &whole
		}
	case "l":
		if scale, err := strconv.ParseFloat(anyNumber.FindString(value), 64); err == nil {
			p.Guidance = scale
		}
	case "ss":
		p.Sampler, p.Spacing, err = ParseSampleSampler(value)
	}
	return err
}

// promptList reads the JSON form.
func promptList(data []byte) (prompts []SamplePrompt, err error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var list []any
	if err := decoder.Decode(&list); err != nil {
		return nil, fmt.Errorf("want a list of prompts: %w", err)
	}
	if decoder.More() {
		return nil, errors.New("text after the list")
	}
	for i, item := range list {
		p := newSamplePrompt()
		switch item := item.(type) {
		case string:
			p.Prompt = item
		case map[string]any:
			err = p.setAll(item)
		default:
			err = errors.New("want a text or an object")
		}
		if err != nil {
			return nil, fmt.Errorf("prompt %d: %w", i+1, err)
		}
		prompts = append(prompts, p)
	}
	return prompts, nil
}

// promptTables reads the TOML form.
func promptTables(text string) (prompts []SamplePrompt, err error) {
	file, err := tomltree.Decode([]byte(text))
	if err != nil {
		return nil, err
	}
	shared, _ := file["prompt"].(map[string]any)
	subsets, ok := shared["subset"].([]map[string]any)
	if !ok || len(file) != 1 {
		return nil, errors.New("want [prompt] and a [[prompt.subset]] for each picture, and nothing else")
	}
	delete(shared, "subset")
	for i, subset := range subsets {
		for key := range subset {
			if _, twice := shared[key]; twice {
				return nil, fmt.Errorf("prompt %d: %s is in [prompt] too; leave it in one of them", i+1, key)
			}
		}
		p := newSamplePrompt()
		if err := errors.Join(p.setAll(shared), p.setAll(subset)); err != nil {
			return nil, fmt.Errorf("prompt %d: %w", i+1, err)
		}
		prompts = append(prompts, p)
	}
	return prompts, nil
}

// setAll takes the keys of an object.
func (p *SamplePrompt) setAll(object map[string]any) error {
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if err := p.set(key, object[key]); err != nil {
			return fmt.Errorf("%.60s: %w", key, err)
		}
	}
	return nil
}

// set takes a key of an object.
func (p *SamplePrompt) set(key string, value any) (err error) {
	switch key {
	case "prompt":
		p.Prompt, err = textOf(value)
	case "negative_prompt":
		p.NegativePrompt, err = textOf(value)
	case "width":
		p.Width, err = integerOf[int](value, 31)
	case "height":
		p.Height, err = integerOf[int](value, 31)
	case "sample_steps":
		p.Steps, err = integerOf[int](value, 31)
	case "seed":
		var seed int64
		seed, err = integerOf[int64](value, 63)
		p.Seed = &seed
	case "scale":
		p.Guidance, err = strconv.ParseFloat(fmt.Sprint(value), 64)
		if err != nil || math.IsNaN(p.Guidance) || math.IsInf(p.Guidance, 0) {
			err = fmt.Errorf("%.60v is no number", value)
		}
	case "sample_sampler":
		var name string
		if name, err = textOf(value); err == nil {
			p.Sampler, p.Spacing, err = ParseSampleSampler(name)
		}
	case "controlnet_image", "guidance_scale", "cfg_trunc_ratio", "renorm_cfg", "flow_shift": // Stable Diffusion 1.5 has no use for them
	default:
		err = errors.New("unknown key, want prompt, negative_prompt, width, height, scale, sample_steps, seed or sample_sampler")
	}
	return err
}

func textOf(value any) (string, error) {
	s, ok := value.(string)
	if !ok {
		return "", fmt.Errorf("%.60v is no text", value)
	}
	return s, nil
}

// integerOf reads a number of up to so many bits that is not negative.
func integerOf[T int | int64](value any, bits int) (T, error) {
	n, err := strconv.ParseUint(fmt.Sprint(value), 10, bits)
	if _, text := value.(string); text || err != nil {
		return 0, fmt.Errorf("%.60v is no number from 0", value)
	}
	return T(n), nil
}
