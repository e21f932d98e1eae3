package sdapi

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd"
)

// script is an extension of the web UI whose part is done here.
type script struct {
	name    string
	img2img bool // it is for img2img alone
	args    []scriptArg
	apply   func(o *order, args []json.RawMessage) []Fault
}

// scriptArg is a control that the script has on the page.
type scriptArg struct {
	Label   string   `json:"label"`
	Value   any      `json:"value"`
	Minimum *float64 `json:"minimum"`
	Maximum *float64 `json:"maximum"`
	Step    *float64 `json:"step"`
	Choices []string `json:"choices"`
}

func slider(label string, value, low, high, step float64) scriptArg {
	return scriptArg{label, value, &low, &high, &step, nil}
}

// scripts are those that alwayson_scripts may name.
var scripts = []script{
	{"adetailer", false, []scriptArg{{Label: "Enable ADetailer", Value: false}}, applyADetailer},
	{"soft inpainting", true, []scriptArg{
		{Label: "Soft inpainting", Value: false},
		slider("Schedule bias", 1, 0, 8, 0.1), slider("Preservation strength", 0.5, 0, 8, 0.05), slider("Transition contrast boost", 4, 1, 32, 0.5),
		slider("Mask influence", 0, 0, 1, 0.05), slider("Difference threshold", 0.5, 0, 8, 0.25), slider("Difference contrast", 2, 0, 8, 0.25),
	}, applySoft},
	{"refiner", false, []scriptArg{{Label: "Refiner", Value: false}, {Label: "Checkpoint", Value: ""}, slider("Switch at", 0.8, 0.01, 1, 0.01)}, applyRefiner},
	{"seed", false, []scriptArg{
		{Label: "Seed", Value: -1}, {Label: "Extra", Value: false}, {Label: "Variation seed", Value: -1}, slider("Variation strength", 0, 0, 1, 0.01),
		slider("Resize seed from width", 0, 0, 2048, 8), slider("Resize seed from height", 0, 0, 2048, 8),
	}, applySeed},
	{"sampler", false, []scriptArg{{Label: "Sampling steps", Value: 20}, {Label: "Sampling method", Value: "DPM++ 2M"}, {Label: "Schedule type", Value: "Automatic"}}, applySampler},
}

// harmless are extensions whose part needs nothing to be done.
var harmless = []string{"comments", "extra options", "api payload", "hypertile", "sampler", "seed", "refiner", "soft inpainting", "adetailer"}

// maxScripts bounds what alwayson_scripts may name.
const maxScripts = 200

// run applies what alwayson_scripts has. What is not known is left, and said.
func (o *order) run(scriptsOf object) (faults []Fault) {
	if len(scriptsOf) > maxScripts {
		return []Fault{fault("alwayson_scripts", "value_error", "%d scripts, want %d at most", len(scriptsOf), maxScripts)}
	}
	for _, one := range scripts {
		for name, raw := range scriptsOf {
			if strings.EqualFold(name, one.name) && (!one.img2img || len(o.images) > 0) {
				faults = append(faults, one.apply(o, scriptArgs(raw))...)
			}
		}
	}
	for name, raw := range scriptsOf {
		if !slices.Contains(harmless, strings.ToLower(name)) && active(scriptArgs(raw)) {
			o.note("alwayson_scripts: %.100q is not known here and was left", name)
		}
	}
	return faults
}

// scriptArgs are the args of a script, which stand in an object or alone.
func scriptArgs(raw json.RawMessage) (args []json.RawMessage) {
	var whole struct {
		Args json.RawMessage `json:"args"`
	}
	if json.Unmarshal(raw, &whole) == nil && whole.Args != nil {
		raw = whole.Args
	}
	if json.Unmarshal(raw, &args) == nil {
		return args
	}
	return []json.RawMessage{raw}
}

// active reports whether args ask for anything.
func active(args []json.RawMessage) bool {
	return slices.ContainsFunc(args, func(raw json.RawMessage) bool {
		var unit struct {
			Enabled, Enable *bool
		}
		text := string(raw)
		if json.Unmarshal(raw, &unit) == nil && (unit.Enabled != nil && !*unit.Enabled || unit.Enable != nil && !*unit.Enable) {
			return false
		}
		return text != "false" && text != "null" && text != "{}" && text != `""`
	})
}

// argument is an arg by its place, nil if there is none.
func argument(args []json.RawMessage, at int) any {
	if at >= len(args) {
		return nil
	}
	return plainJSON(args[at])
}

// plainJSON is a JSON value with numbers as they are written.
func plainJSON(raw json.RawMessage) (v any) {
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return nil
	}
	return v
}

// number, text and truth of an arg; what is not said is the one given.
func numberOr(v any, other float64) float64 {
	if f, ok := toFloat(v); ok {
		return f
	}
	return other
}

func intOr(v any, other int64) int64 {
	if n, ok := toInt(v); ok {
		return n
	}
	return other
}

func truthOr(v any, other bool) bool {
	if b, ok := toBool(v); ok {
		return b
	}
	return other
}

func textOr(v any, other string) string {
	if s, ok := toText(v); ok && s != "" {
		return s
	}
	return other
}

// applySoft takes the args in their order or, as one object, by their labels.
func applySoft(o *order, args []json.RawMessage) []Fault {
	named, _ := argument(args, 0).(map[string]any)
	value := func(at int, label string) any {
		if named != nil {
			return named[label]
		}
		return argument(args, at)
	}
	if !truthOr(value(0, "Soft inpainting"), false) {
		return nil
	}
	if o.r.Inpaint == nil {
		o.note("Soft inpainting is left: there is no mask")
		return nil
	}
	number := func(at int, label string, other float64) *float64 { return new(numberOr(value(at, label), other)) }
	o.r.Inpaint.Soft = &sd.Soft{
		ScheduleBias: number(1, "Schedule bias", 1), Preservation: number(2, "Preservation strength", 0.5), Contrast: *number(3, "Transition contrast boost", 4),
		MaskInfluence: *number(4, "Mask influence", 0), DifferenceThreshold: number(5, "Difference threshold", 0.5), DifferenceContrast: number(6, "Difference contrast", 2),
	}
	return nil
}

func applyRefiner(o *order, args []json.RawMessage) []Fault {
	if truthOr(argument(args, 0), false) {
		o.r.Refiner = &sd.Refiner{Checkpoint: textOr(argument(args, 1), ""), SwitchAt: new(numberOr(argument(args, 2), 0.8))}
	}
	return nil
}

func applySeed(o *order, args []json.RawMessage) []Fault {
	o.r.Seed = intOr(argument(args, 0), o.r.Seed)
	if truthOr(argument(args, 1), false) {
		o.r.Variation = sd.Variation{Seed: intOr(argument(args, 2), -1), Strength: numberOr(argument(args, 3), 0)}
		o.resizeFrom(int(intOr(argument(args, 4), 0)), int(intOr(argument(args, 5), 0)))
	}
	return nil
}

func applySampler(o *order, args []json.RawMessage) (faults []Fault) {
	o.r.Steps = int(min(intOr(argument(args, 0), int64(o.r.Steps)), 1e6))
	if name := textOr(argument(args, 1), ""); name != "" {
		var err error
		if o.r.Sampler, o.r.Spacing, err = sampler.Parse(name, textOr(argument(args, 2), "")); err != nil {
			faults = append(faults, fault("alwayson_scripts", "value_error", "%v", err))
		}
	}
	return faults
}

// maxUnits bounds how many tabs of ADetailer are looked at.
const maxUnits = 15

// applyADetailer makes the first tab that draws faces the pass of faces. Args begin with whether to do so at all, if that is said, and
// whether to leave out what img2img does.
func applyADetailer(o *order, args []json.RawMessage) (faults []Fault) {
	for i, raw := range args[:min(len(args), maxUnits+2)] {
		switch unit := plainJSON(raw).(type) {
		case bool:
			if i == 0 && !unit {
				return nil
			}
			if i == 1 && unit {
				o.note("ADetailer: what img2img does is not left out")
			}
		case map[string]any:
			faults = append(faults, o.tab(unit)...)
		}
	}
	return faults
}

// tab applies a tab of ADetailer.
func (o *order) tab(unit map[string]any) (faults []Fault) {
	model := textOr(unit["ad_model"], "None")
	if model == "None" || !truthOr(unit["ad_tab_enable"], true) {
		return nil
	}
	if !strings.Contains(strings.ToLower(model), "face") {
		o.note("ADetailer: %.60q is left: faces alone can be drawn anew", model)
		return nil
	}
	if o.r.Faces != nil {
		o.note("ADetailer: a second tab for faces is left")
		return nil
	}
	f := &sd.FacePass{
		Prompt: textOr(unit["ad_prompt"], ""), NegativePrompt: textOr(unit["ad_negative_prompt"], ""),
		Strength: new(numberOr(unit["ad_denoising_strength"], 0.4)), Blur: new(numberOr(unit["ad_mask_blur"], 4)),
		Dilate:     new(int(clamp(intOr(unit["ad_dilate_erode"], 4)))),
		Padding:    new(int(clamp(intOr(unit["ad_inpaint_only_masked_padding"], 32)))),
		Confidence: new(numberOr(unit["ad_confidence"], 0.3)), MinRatio: numberOr(unit["ad_mask_min_ratio"], 0), MaxRatio: numberOr(unit["ad_mask_max_ratio"], 1),
		Width: o.r.Width, Height: o.r.Height,
	}
	f.Largest, f.Surest = int(clamp(intOr(unit["ad_mask_k"], intOr(unit["ad_mask_k_largest"], 0)))), strings.EqualFold(textOr(unit["ad_mask_filter_method"], ""), "Confidence")
	f.OffsetX, f.OffsetY = int(clamp(intOr(unit["ad_x_offset"], 0))), int(clamp(intOr(unit["ad_y_offset"], 0)))
	f.Merge = sd.FaceMerge(textOr(unit["ad_mask_merge_invert"], string(sd.SeparateFaces)))
	if truthOr(unit["ad_use_inpaint_width_height"], false) {
		f.Width, f.Height = int(clamp(intOr(unit["ad_inpaint_width"], 512))), int(clamp(intOr(unit["ad_inpaint_height"], 512)))
	}
	if truthOr(unit["ad_use_steps"], false) {
		f.Steps = int(clamp(intOr(unit["ad_steps"], 28)))
	}
	if truthOr(unit["ad_use_clip_skip"], false) {
		f.ClipSkip = int(clamp(intOr(unit["ad_clip_skip"], 1)))
	}
	if truthOr(unit["ad_use_noise_multiplier"], false) {
		f.NoiseMultiplier = new(numberOr(unit["ad_noise_multiplier"], 1))
	}
	if truthOr(unit["ad_use_cfg_scale"], false) {
		f.Guidance = new(numberOr(unit["ad_cfg_scale"], 7))
	}
	if truthOr(unit["ad_use_sampler"], false) {
		var err error
		if f.Sampler, f.Spacing, err = sampler.Parse(textOr(unit["ad_sampler"], ""), textOr(unit["ad_scheduler"], "")); err != nil {
			faults = append(faults, fault("alwayson_scripts", "value_error", "ADetailer: %v", err))
		}
	}
	o.r.Faces = f
	o.leave(unit)
	return faults
}

// clamp keeps numbers of strangers within what an int has everywhere; what a field can have is said elsewhere.
func clamp(n int64) int64 { return min(max(n, -1<<30), 1<<30) }

// leave says what of a tab of ADetailer is not done.
func (o *order) leave(unit map[string]any) {
	for _, key := range []string{"ad_use_checkpoint", "ad_use_vae", "ad_restore_face"} {
		if truthOr(unit[key], false) {
			o.note("ADetailer: %s is left", key)
		}
	}
	for key, preset := range map[string]string{"ad_controlnet_model": "None", "ad_model_classes": ""} {
		if v := textOr(unit[key], preset); v != preset {
			o.note("ADetailer: %s is left", key)
		}
	}
	if !truthOr(unit["ad_inpaint_only_masked"], true) {
		o.note("ADetailer: faces are cut out, whatever ad_inpaint_only_masked says")
	}
}
