package train_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/sampler"
)

// defaultPrompt is a prompt for which nothing else is given.
func defaultPrompt(change func(p *train.SamplePrompt)) train.SamplePrompt {
	p := train.SamplePrompt{Width: 512, Height: 512, Steps: 30, Guidance: 7.5}
	change(&p)
	return p
}

func TestParseSamplePrompts(t *testing.T) {
	cat := defaultPrompt(func(p *train.SamplePrompt) { p.Prompt = "a cat" })
	whole := train.SamplePrompt{
		Prompt: "a cat", NegativePrompt: "bad, ugly", Width: 512, Height: 64, Seed: new(int64(7)), Steps: 1, Guidance: 5, Sampler: sampler.EulerA,
	}
	for _, c := range []struct {
		name, file, data string
		want             []train.SamplePrompt
	}{
		{"case 90", "p.txt", "a cat --w 519 --h 60 --d 7 --s 0 --l 5 --n bad, ugly --ss euler_a", []train.SamplePrompt{whole}},
		{"any order and case", "p.txt", "a cat --SS k_euler_a --N bad, ugly --L 5 --S 1 --D 7 --H 64 --W 512\r\n", []train.SamplePrompt{whole}},
		{"comments", "p.txt", "# x\n\n  \n # x\na cat\n", []train.SamplePrompt{defaultPrompt(func(p *train.SamplePrompt) { p.Prompt = "# x" }), cat}},
		{"what cannot be read", "p.txt", "a cat --w wide --d -1 --l NaN --s x1 --l -1 --l 7.5.1 --w 99999999999 --cn x.png --g 3 --quality 9 --", []train.SamplePrompt{cat}},
		{"numbers with more behind them", "p.txt", "a cat --w 128px --h 64, --d 7; --s 1e9 --l 5,", []train.SamplePrompt{
			defaultPrompt(func(p *train.SamplePrompt) {
				p.Prompt, p.Width, p.Height, p.Seed, p.Steps, p.Guidance = "a cat", 128, 64, new(int64(7)), 1, 5
			})}},
		{"prompt like a flag", "p.txt", "d 3 cats", []train.SamplePrompt{defaultPrompt(func(p *train.SamplePrompt) { p.Prompt = "d 3 cats" })}},
		{"too much", "p.TXT", "a cat --s 5000 --l 0.5", []train.SamplePrompt{defaultPrompt(func(p *train.SamplePrompt) { p.Prompt, p.Steps, p.Guidance = "a cat", 1000, 1 })}},
		{"far too much", "p.txt", "a cat --s 99999999999999999999", []train.SamplePrompt{defaultPrompt(func(p *train.SamplePrompt) { p.Prompt, p.Steps = "a cat", 1000 })}},
		{"byte order mark", "p.txt", "\ufeff# x\na cat", []train.SamplePrompt{cat}},
		{"JSON", "p.json", `["a cat", {"prompt": "a cat", "negative_prompt": "bad, ugly", "width": 519, "height": 60, "scale": 5, "sample_steps": 0, "seed": 7,
			"sample_sampler": "euler_a", "controlnet_image": "x.png"}]`, []train.SamplePrompt{cat, whole}},
		{"TOML", "p.toml", "[prompt]\nwidth = 519\nheight = 60\nscale = 5.0\nsample_steps = 0\nnegative_prompt = \"bad, ugly\"\nsample_sampler = \"euler_a\"\n" +
			"[[prompt.subset]]\nprompt = \"a cat\"\nseed = 7\n[[prompt.subset]]\nprompt = \"a cat\"\nseed = 7", []train.SamplePrompt{whole, whole}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := train.ParseSamplePrompts(c.file, []byte(c.data))
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("prompts are %+v, %v\nwant        %+v", got, err, c.want)
			}
		})
	}
	for _, c := range []struct{ name, file, data, say string }{
		{"no prompts", "p.txt", "# x\n", "no prompts in it"},
		{"extension", "p.yaml", "x", `extension ".yaml"; want .txt, .toml or .json`},
		{"encoding", "p.txt", "caf\xe9", "not UTF-8"},
		{"sampler", "p.txt", "a cat --ss magic", "no sampler is called \"magic\""},
		{"JSON object", "p.json", `{"prompt": "a cat"}`, "want a list of prompts"},
		{"JSON number", "p.json", `[3]`, "prompt 1: want a text or an object"},
		{"JSON, more", "p.json", `["a"] x`, "text after the list"},
		{"key", "p.json", `[{"promt": "a cat"}]`, "promt: unknown key"},
		{"width", "p.json", `[{"width": "512"}]`, "512 is no number"},
		{"seed", "p.json", `[{"seed": -1}]`, "-1 is no number"},
		{"scale", "p.toml", "[[prompt.subset]]\nscale = nan", "NaN is no number"},
		{"in both", "p.toml", "[prompt]\nseed = 1\n[[prompt.subset]]\nseed = 2", "seed is in [prompt] too"},
		{"no subset", "p.toml", "[prompt]\nprompt = \"a cat\"", "want [prompt] and a [[prompt.subset]]"},
		{"another table", "p.toml", "[prompts]\nseed = 1\n[[prompt.subset]]", "and nothing else"},
		{"syntax", "p.toml", "[prompt", "p.toml: "},
		{"huge", "p.txt", strings.Repeat("x", 1<<20+1), "bytes of prompts"},
		{"many", "p.txt", strings.Repeat("x\n", 1001), "1001 prompts"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := train.ParseSamplePrompts(c.file, []byte(c.data)); err == nil || !strings.Contains(err.Error(), c.say) {
				t.Errorf("prompts are %+v, the error %v\nwant %q in it", got, err, c.say)
			}
		})
	}
}

func TestParseSampleSampler(t *testing.T) {
	for name, want := range map[string]sampler.Sampler{
		"": sampler.DDIM, "ddim": sampler.DDIM, "pndm": sampler.PLMS, "lms": sampler.LMS, "k_lms": sampler.LMS, "euler": sampler.Euler, "k_euler": sampler.Euler,
		"euler_a": sampler.EulerA, "k_euler_a": sampler.EulerA, "heun": sampler.Heun, "dpm_2": sampler.DPM2, "k_dpm_2": sampler.DPM2, "dpm_2_a": sampler.DPM2A,
		"k_dpm_2_a": sampler.DPM2A, "dpmsolver": sampler.DPMPP2M, "dpmsolver++": sampler.DPMPP2M, "dpmsingle": sampler.DPMPP2M, "DPM++ 2M": sampler.DPMPP2M,
	} {
		if got, _, err := train.ParseSampleSampler(name); got != want || err != nil {
			t.Errorf("%q is %q, %v, want %q", name, got, err, want)
		}
	}
	if got, _, err := train.ParseSampleSampler("magic"); err == nil || !strings.HasPrefix(err.Error(), `sampler: no sampler is called "magic"; there are DPM++ 2M`) {
		t.Errorf("magic is %q, the error %v", got, err)
	}
}

// FuzzSamplePrompts reads any bytes in each form: what is accepted is within its bounds.
func FuzzSamplePrompts(f *testing.F) {
	for form, data := range []string{"a cat --w 519 --h 60 --d 7 --n x\n#", `["a", {"seed": 7}]`, "[prompt]\nscale = 5.0\n[[prompt.subset]]\nseed = 1"} {
		f.Add(uint8(form), []byte(data))
	}
	f.Fuzz(func(t *testing.T, form uint8, data []byte) {
		prompts, err := train.ParseSamplePrompts([]string{"p.txt", "p.json", "p.toml"}[form%3], data)
		for _, p := range prompts {
			if err != nil || p.Width < 64 || p.Height < 64 || p.Width%8+p.Height%8 != 0 || p.Steps < 1 || p.Steps > 1000 || !(p.Guidance >= 1) {
				t.Errorf("%q gives %+v, %v", data, p, err)
			}
			if p.Seed != nil && *p.Seed < 0 {
				t.Errorf("%q gives the seed %d", data, *p.Seed)
			}
		}
	})
}
