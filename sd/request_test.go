package sd

import (
	"encoding/json"
	"image"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd/prompt"
	"github.com/atelier-go/atelier/unet"
)

func TestDefaults(t *testing.T) {
	got, err := Request{Prompt: "a lighthouse"}.resolve(512)
	if err != nil {
		t.Fatal(err)
	}
	want := Request{Prompt: "a lighthouse", Width: 512, Height: 512, Steps: 20, Sampler: sampler.DPMPP2M,
		Guidance: new(7.5), ClipSkip: 1, BatchSize: 1, Noise: NV, PromptOptions: prompt.Options{Emphasis: prompt.Original}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("have %+v\nwant %+v", got, want)
	}
	random, err := Request{Seed: -1}.resolve(512)
	if err != nil {
		t.Fatal(err)
	}
	again, err := random.resolve(512)
	if err != nil {
		t.Fatal(err)
	}
	if random.Seed < 0 || again.Seed != random.Seed {
		t.Errorf("a random seed is %d and then %d, want the same number of at least 0", random.Seed, again.Seed)
	}
}

// TestRequestJSON writes requests and reads them again.
func TestRequestJSON(t *testing.T) {
	full := Request{
		Prompt: "a man", NegativePrompt: "hat", Width: 64, Height: 72, Steps: 3, Sampler: sampler.EulerA, Spacing: sampler.Karras,
		Adapters:      []Adapter{{Path: "a.safetensors"}, {Name: "b", Strength: &lora.Strength{TextEncoder: 0.5, UNet: 1, Rank: 2}}},
		PromptOptions: prompt.Options{Emphasis: prompt.NoNorm, Backtrack: new(0), OldTimelines: true, KeepComments: true}, PadConds: true, PadOld: true,
		Eta: new(0.0), Guidance: new(0.0), ClipSkip: 2, Seed: -1, BatchSize: 2, Noise: CPU, TiledVAE: true, VAE: "a.pt", Encoder: TAESD, Decoder: TAESD,
		Variation: Variation{Seed: 7, Strength: 0.25}, ResizeFrom: Size{Width: 512, Height: 384},
		GuidanceRescale: 0.7, FreeU: unet.FreeU{B1: 1.5, B2: 1.6, S1: 0.9, S2: 0.2},
		Speed: Speed{
			MinUncond: 1.5, MinUncondAll: true, SkipEarly: 0.25, TokenMerging: 0.5, TokenMergingHires: 0.75,
			HyperTile: HyperTile{Tile: 128, Depth: 1}, DeepCache: DeepCache{Interval: 3, Branch: 1},
		},
		SamplerOptions: SamplerOptions{
			SChurn: 1, STmin: 0.1, STmax: 9, SNoise: new(1.01), SigmaMin: 0.05, SigmaMax: 12, Rho: 5, BetaAlpha: 0.5, BetaBeta: 0.7,
			DiscardPenultimate: true, SGMNoise: true, DowncastAlphas: true, Order: 2, Variant: sampler.BH2, Skip: sampler.LogSNR,
			KeepOrderFinal: true, ENSD: 31337,
		},
		Image: []byte("abc"), Strength: new(0.0), ResizeMode: ResizeAndFill, NoiseMultiplier: new(1.5), ExtraNoise: 0.25, ColorCorrection: true,
		Inpaint: &Inpaint{
			Mask: []byte("abc"), Invert: true, Blur: new(0.0), BlurX: new(1.0), BlurY: new(2.5), Content: FillContent, Only: true, Padding: new(0), Weight: new(0.5),
			Soft: &Soft{ScheduleBias: new(0.0), Preservation: new(1.0), Contrast: 2, MaskInfluence: 0.25, DifferenceThreshold: new(0.75), DifferenceContrast: new(3.0)},
		},
		Hires: &Hires{
			Scale: 1.5, Width: 128, Height: 192, Upscaler: "Latent", Strength: new(0.5), Steps: 7, Sampler: sampler.Euler, Spacing: sampler.Karras,
			Guidance: new(3.0), Prompt: "a", NegativePrompt: "b", Checkpoint: "c",
		},
		Refiner: &Refiner{Checkpoint: "b", SwitchAt: new(0.0), ByCalls: true, Passes: RefineBoth},
		Faces: &FacePass{
			Boxes: []image.Rectangle{image.Rect(1, 2, 3, 4)}, Prompt: "a [SEP] b", NegativePrompt: "c", Strength: new(0.0), Width: 64, Height: 72, Blur: new(0.0),
			Dilate: new(0), Padding: new(0), Steps: 7, Guidance: new(3.0), Sampler: sampler.Euler, Spacing: sampler.Karras, Confidence: new(0.0),
			MinRatio: 0.25, MaxRatio: 0.5, Largest: 2, Order: LeftToRight,
			OffsetX: 1, OffsetY: -1, Merge: MergeFaces, ClipSkip: 2, NoiseMultiplier: new(0.0), Surest: true,
		},
	}
	for v, i := reflect.ValueOf(full), 0; i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Errorf("the test leaves out %s", v.Type().Field(i).Name)
		}
	}
	for text, want := range map[string]Request{
		`{}`: {},
		`{"prompt":"a man","negative_prompt":"hat","adapters":[{"path":"a.safetensors"},{"name":"b","strength":{"text_encoder":0.5,"unet":1,"rank":2}}],` +
			`"prompt_options":{"emphasis":"No norm","backtrack":0,"old_timelines":true,"keep_comments":true},` +
			`"width":64,"height":72,"steps":3,"sampler":"Euler a","spacing":"Karras","eta":0,"guidance":0,"pad_conds":true,"pad_conds_v0":true,"clip_skip":2,"seed":-1,"batch_size":2,"noise":"CPU",` +
			`"variation":{"seed":7,"strength":0.25},"seed_resize_from":{"width":512,"height":384},` +
			`"sampler_options":{"sigma_churn":1,"sigma_tmin":0.1,"sigma_tmax":9,"sigma_noise":1.01,"schedule_min_sigma":0.05,"schedule_max_sigma":12,` +
			`"schedule_rho":5,"beta_schedule_alpha":0.5,"beta_schedule_beta":0.7,"discard_penultimate_sigma":true,"sgm_noise_multiplier":true,` +
			`"downcast_alphas_cumprod":true,"order":2,"unipc_variant":"bh2","unipc_skip_type":"logSNR","keep_order_final":true,"ensd":31337},"guidance_rescale":0.7,"freeu":{"b1":1.5,"b2":1.6,"s1":0.9,"s2":0.2},` +
			`"speed":{"ngms":1.5,"ngms_all_steps":true,"skip_early_cfg":0.25,"token_merging_ratio":0.5,"token_merging_ratio_hr":0.75,` +
			`"hypertile":{"tile":128,"depth":1},"deep_cache":{"interval":3,"branch":1}},` +
			`"init_image":"YWJj","denoising_strength":0,"resize_mode":"Resize and fill","initial_noise_multiplier":1.5,` +
			`"inpaint":{"mask_image":"YWJj","inpainting_mask_invert":true,"mask_blur":0,"mask_blur_x":1,"mask_blur_y":2.5,"masked_content":"fill","inpaint_full_res":true,"inpaint_full_res_padding":0,` +
			`"soft_inpainting":{"schedule_bias":0,"preservation_strength":1,"transition_contrast_boost":2,"mask_influence":0.25,"difference_threshold":0.75,` +
			`"difference_contrast":3},"conditional_mask_weight":0.5},"img2img_color_correction":true,"img2img_extra_noise":0.25,` +
			`"hires":{"scale":1.5,"resize_x":128,"resize_y":192,"upscaler":"Latent","denoising_strength":0.5,"steps":7,"sampler":"Euler","spacing":"Karras",` +
			`"guidance":3,"prompt":"a","negative_prompt":"b","checkpoint":"c"},` +
			`"refiner":{"checkpoint":"b","switch_at":0,"switch_by_sample_steps":true,"hires_pass":"both passes"},` +
			`"faces":{"boxes":[{"Min":{"X":1,"Y":2},"Max":{"X":3,"Y":4}}],"prompt":"a [SEP] b","negative_prompt":"c","denoising_strength":0,"width":64,"height":72,` +
			`"mask_blur":0,"dilate_erode":0,"inpaint_padding":0,"x_offset":1,"y_offset":-1,"mask_merge_invert":"Merge","steps":7,"guidance":3,"sampler":"Euler","spacing":"Karras","clip_skip":2,"noise_multiplier":0,"confidence":0,` +
			`"mask_min_ratio":0.25,"mask_max_ratio":0.5,"mask_only_k_largest":2,"mask_k_surest":true,"sort_by":"Position (left to right)"},` +
			`"vae":"a.pt","vae_encoder":"TAESD","vae_decoder":"TAESD","tiled_vae":true}`: full,
	} {
		written, err := json.Marshal(want)
		if err != nil || string(written) != text {
			t.Errorf("written as %s, %v\nwant %s", written, err, text)
		}
		var got Request
		if err := json.Unmarshal(written, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("read as %+v, %v\nwant %+v", got, err, want)
		}
	}
}

// TestRequestFields looks at which fields errors are of, also those that other packages find.
func TestRequestFields(t *testing.T) {
	p := openTiny(t, openCPU(t))
	for _, c := range []struct {
		request Request
		want    []string
	}{
		{Request{Width: 7, Height: -8, Guidance: new(math.NaN()), BatchSize: -1, Noise: "TV", Steps: -1, Sampler: "x", Spacing: "y", Eta: new(-1.0)},
			[]string{"Request.Width", "Request.Height", "Request.Guidance", "Request.BatchSize", "Request.Noise", "Request.Sampler", "Request.Spacing", "Request.Steps", "Request.Eta"}},
		{Request{Prompt: "\xff", NegativePrompt: "\xff", ClipSkip: -1, Adapters: []Adapter{{}}},
			[]string{"Request.Prompt", "Request.NegativePrompt", "Request.Adapters[0].Path", "Request.ClipSkip"}},
		{Request{ClipSkip: 99}, []string{"Request.ClipSkip"}},
		{Request{Variation: Variation{Strength: 2}, ResizeFrom: Size{Width: 512}}, []string{"Request.Variation.Strength", "Request.ResizeFrom.Height"}},
		{Request{GuidanceRescale: 2, FreeU: unet.FreeU{S2: -1}, Speed: Speed{
			TokenMerging: math.NaN(), TokenMergingHires: 2, HyperTile: HyperTile{Tile: 8, Depth: -1}, DeepCache: DeepCache{Interval: -1, Branch: -1},
		}}, []string{
			"Request.GuidanceRescale", "Request.FreeU.S2", "Request.Speed.TokenMerging", "Request.Speed.TokenMergingHires",
			"Request.Speed.HyperTile.Tile", "Request.Speed.HyperTile.Depth", "Request.Speed.DeepCache.Interval", "Request.Speed.DeepCache.Branch",
		}},
		{Request{Speed: Speed{DeepCache: DeepCache{Interval: 2, Branch: 12}}}, []string{"Request.Speed.DeepCache.Branch"}},
		{Request{Speed: Speed{MinUncond: -1, SkipEarly: 1.5}}, []string{"Request.Speed.SkipEarly", "Request.Speed.MinUncond"}},
		{Request{Sampler: sampler.UniPC, SamplerOptions: SamplerOptions{SChurn: -1, SNoise: new(math.Inf(1)), Order: 9, Variant: "bh3", Skip: "x"}},
			[]string{"Request.SamplerOptions.Variant", "Request.SamplerOptions.Skip", "Request.SamplerOptions.Order", "Request.SamplerOptions.SNoise", "Request.SamplerOptions.SChurn"}},
		{Request{NegativePrompt: strings.Repeat("x ", 10000)}, []string{"Request.NegativePrompt"}},
		{Request{Prompt: "<lora:x:much>"}, []string{"Request.Prompt"}},
		{Request{Prompt: "<lora:x>"}, []string{"Options.LoRADirs"}},
	} {
		_, err := p.Generate(t.Context(), c.request)
		var got []string
		for _, e := range invalid.Fields(err) {
			got = append(got, e.Field)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("fields %q, want %q: %v", got, c.want, err)
		}
		for _, field := range c.want {
			if !strings.Contains(err.Error(), field) {
				t.Errorf("the message does not name %s: %v", field, err)
			}
		}
	}
}

func TestRequestErrors(t *testing.T) {
	p := openTiny(t, openCPU(t))
	nan := math.NaN()
	for _, c := range []struct {
		name   string
		change func(r *Request)
		say    []string
	}{
		{"width 7", func(r *Request) { r.Width = 7 }, []string{"Width is 7", "multiple of 8"}},
		{"width no multiple", func(r *Request) { r.Width = 20 }, []string{"Width is 20", "multiple of 8"}},
		{"negative height", func(r *Request) { r.Height = -8 }, []string{"Height is -8"}},
		{"height 100000", func(r *Request) { r.Height = 100000 }, []string{"Height is 100000", "4096"}},
		{"no steps", func(r *Request) { r.Steps = -1 }, []string{"Steps is -1"}},
		{"steps without end", func(r *Request) { r.Steps = math.MaxInt }, []string{"Steps is 9223372036854775807"}},
		{"guidance not a number", func(r *Request) { r.Guidance = &nan }, []string{"Guidance is NaN"}},
		{"infinite guidance", func(r *Request) { r.Guidance = new(math.Inf(1)) }, []string{"Guidance is +Inf"}},
		{"no pictures", func(r *Request) { r.BatchSize = -1 }, []string{"BatchSize is -1"}},
		{"too many pictures", func(r *Request) { r.BatchSize = 65 }, []string{"BatchSize is 65"}},
		{"unknown noise", func(r *Request) { r.Noise = "TPU" }, []string{`Noise is "TPU"`, `"NV"`, `"CPU"`}},
		{"clip skip below", func(r *Request) { r.ClipSkip = -1 }, []string{"ClipSkip is -1"}},
		{"clip skip beyond", func(r *Request) { r.ClipSkip = 4 }, []string{"ClipSkip is 4", "1 to 3"}},
		{"unknown sampler", func(r *Request) { r.Sampler = "Leapfrog" }, []string{"Leapfrog"}},
		{"unknown spacing", func(r *Request) { r.Spacing = "Cubic" }, []string{"Cubic"}},
		{"eta not a number", func(r *Request) { r.Sampler, r.Eta = sampler.EulerA, &nan }, []string{"Eta"}},
		{"a million characters", func(r *Request) { r.Prompt = strings.Repeat("a photo of a man ", 1_000_000/17) }, []string{"tokens", "shorten"}},
		{"a million characters to avoid", func(r *Request) { r.NegativePrompt = strings.Repeat("x", 1_000_000) }, []string{"tokens", "shorten"}},
		{"not UTF-8", func(r *Request) { r.Prompt = "a \xff\xfe man \xc3" }, []string{"Prompt", "UTF-8", `\xff\xfe`}},
		{"not UTF-8 to avoid", func(r *Request) { r.NegativePrompt = strings.Repeat("\x80", 1000) }, []string{"NegativePrompt", "UTF-8"}},
		{"all at once", func(r *Request) { r.Width, r.Steps, r.BatchSize = 7, -3, 99 }, []string{"Width is 7", "Steps is -3", "BatchSize is 99"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := p.Generate(t.Context(), small(c.change))
			if err == nil {
				t.Fatal("no error")
			}
			for _, s := range c.say {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("the error does not say %q: %v", s, err)
				}
			}
			if len(err.Error()) > 1000 {
				t.Errorf("the error has %d characters", len(err.Error()))
			}
		})
	}
}

// TestOddPrompts makes pictures of what people and programs type.
func TestOddPrompts(t *testing.T) {
	p := openTiny(t, openCPU(t))
	for name, prompt := range map[string]string{
		"empty": "", "spaces": "  \t\n ", "zero bytes": "a\x00b", "emoji": "👩‍🦰 with 👓",
		"special tokens": "<|startoftext|> a man <|endoftext|>", "one word": strings.Repeat("ab", 300), "commas": strings.Repeat(",", 200),
	} {
		if images := generate(t, p, small(func(r *Request) { r.Prompt, r.Steps = prompt, 1 })).Pictures; len(images) != 1 {
			t.Errorf("%s: %d pictures, want 1", name, len(images))
		}
	}
}

// chunk cuts a prompt into what the text encoder reads.
func chunk(t *testing.T, tokens *clip.Tokenizer, text string) [][]int32 {
	t.Helper()
	part, err := readTimeline(prompt.Reader{Tokenizer: tokens}, prompt.NewTimeline(text, prompt.Timing{Steps: 1}))
	if err != nil {
		t.Fatal(err)
	}
	return sequences(tokens, part.toEncode())
}

// TestChunk cuts prompts as the web UI does.
func TestChunk(t *testing.T) {
	tokens := clip.Default()
	words := func(n int) string { return strings.Repeat("man ", n) }
	for _, c := range []struct {
		name, text string
		want       []int // tokens of each chunk
	}{
		{"empty", "", []int{0}},
		{"short", words(3), []int{3}},
		{"exactly full", words(75), []int{75}},
		{"one more", words(76), []int{75, 1}},
		{"two full", words(150), []int{75, 75}},
		{"a comma within reach", words(60) + "," + words(30), []int{61, 30}},
		{"a comma at the end of the reach", words(55) + "," + words(30), []int{56, 30}},
		{"a comma out of reach", words(54) + "," + words(30), []int{75, 10}},
		{"a comma that ends the chunk", words(74) + "," + words(5), []int{75, 5}},
		{"a comma right behind", words(75) + "," + words(5), []int{75, 6}},
	} {
		t.Run(c.name, func(t *testing.T) {
			chunks := chunk(t, tokens, c.text)
			var got []int
			for _, sequence := range chunks {
				if len(sequence) != 77 || sequence[0] != tokens.BOS() || sequence[76] != tokens.EOS() {
					t.Fatalf("not a sequence of 77 tokens between start and end: %v", sequence)
				}
				n := 0
				for sequence[1+n] != tokens.EOS() {
					n++
				}
				got = append(got, n)
			}
			if len(got) != len(c.want) {
				t.Fatalf("chunks of %v tokens, want %v", got, c.want)
			}
			for i := range got {
				if got[i] != c.want[i] {
					t.Errorf("chunks of %v tokens, want %v", got, c.want)
					break
				}
			}
		})
	}
}

func TestCheck(t *testing.T) {
	if err := (Request{Prompt: "x", Hires: &Hires{}, Faces: &FacePass{}, Refiner: &Refiner{Checkpoint: "other"}}).Check(); err != nil {
		t.Errorf("a request of defaults: %v", err)
	}
	for field, r := range map[string]Request{
		"Request.Width":              {Width: 7},
		"Request.Steps":              {Steps: -1},
		"Request.Sampler":            {Sampler: "Eel"},
		"Request.SamplerOptions.Rho": {SamplerOptions: SamplerOptions{Rho: -1}},
		"Request.Hires.Scale":        {Hires: &Hires{Scale: 9}},
		"Request.Hires.Strength":     {Hires: &Hires{Strength: new(2.0)}},
		"Request.Faces.Steps":        {Faces: &FacePass{Steps: -1}},
		"Request.Faces.Blur":         {Faces: &FacePass{Blur: new(100.0)}},
		"Request.Strength":           {Image: []byte("x"), Strength: new(-1.0)},
	} {
		var found []string
		for _, e := range invalid.Fields(r.Check()) {
			found = append(found, e.Field)
		}
		if !slices.Equal(found, []string{field}) {
			t.Errorf("want a complaint about %s, got %q", field, found)
		}
	}
}
