package infotext

import (
	"cmp"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/atelier-go/atelier/sd/prompt"
)

// Parameters are what the web UI reads from an infotext, and what its API gives as JSON: strings as they stand there, and for what
// is missing its defaults, of which some are numbers or truth values. "Size" is "Size-1" and "Size-2".
type Parameters map[string]any

// Text is a value as a string, "" if it is missing.
func (p Parameters) Text(key string) string {
	switch v := p[key].(type) {
	case string:
		return v
	case int:
		return strconv.Itoa(v)
	case bool:
		if v {
			return "True"
		}
		return "False"
	}
	return ""
}

// StylesMode says what is done about styles that the prompts of an infotext have.
type StylesMode string

// The modes of the web UI's setting infotext_styles.
const (
	IgnoreStyles    StylesMode = "Ignore"       // they stay in the prompts; "" is this one too
	ApplyStyles     StylesMode = "Apply"        // they are taken out and named under "Styles array"
	DiscardStyles   StylesMode = "Discard"      // they are taken out
	ApplyStylesIfIn StylesMode = "Apply if any" // as Apply, and nothing is named if there are none: the web UI's default
)

var size = regexp.MustCompile(`^(\p{Nd}+)x(\p{Nd}+)$`)

// defaults are the values of what is missing.
var defaults = Parameters{
	"Clip skip": "1", "Hires resize-1": 0, "Hires resize-2": 0,
	"Hires sampler": "Use same sampler", "Hires schedule type": "Use same scheduler", "Hires checkpoint": "Use same checkpoint",
	"Hires prompt": "", "Hires negative prompt": "", "Mask mode": "Inpaint masked", "Masked content": "original", "Inpaint area": "Whole picture",
	"Masked area padding": 32, "RNG": "GPU", "Schedule type": "Automatic", "Schedule max sigma": 0, "Schedule min sigma": 0, "Schedule rho": 0,
	"VAE Encoder": "Full", "VAE Decoder": "Full", "FP8 weight": "Disable", "Refiner switch by sampling steps": false,
}

// Parameters reads the text as the web UI does: values of the form 512x768 are two, what is missing gets its default, styles are taken
// out of the prompts, and a text that an old release wrote gets the settings under which it did so.
func (t Text) Parameters(styles prompt.Styles, mode StylesMode) Parameters {
	p := make(Parameters)
	for _, f := range t.Fields {
		if m := size.FindStringSubmatch(f.Value); m != nil {
			p[f.Key+"-1"], p[f.Key+"-2"] = m[1], m[2]
		} else {
			p[f.Key] = f.Value
		}
	}
	p["Prompt"], p["Negative prompt"] = t.Prompt, t.Negative
	p.takeStyles(styles, mode)
	if weighs(p.Text("Prompt")) || weighs(p.Text("Negative prompt")) {
		p.missing("Emphasis", "Original")
	}
	if name, ok := p["Hypernet"]; ok {
		p["Prompt"] = p.Text("Prompt") + "<hypernet:" + name.(string) + ":" + cmp.Or(p.Text("Hypernet strength"), "1.0") + ">"
	}
	p.firstPass()
	for key, value := range defaults {
		p.missing(key, value)
	}
	if p["FP8 weight"] != "Disable" {
		p.missing("Cache FP16 weight for LoRA", false)
	}
	p.asOf(p.Text("Version"))
	return p
}

// missing gives a key a value if it has none.
func (p Parameters) missing(key string, value any) {
	if _, ok := p[key]; !ok {
		p[key] = value
	}
}

// weighs reports whether a prompt has words of another weight than 1.
func weighs(text string) bool {
	return slices.ContainsFunc(prompt.Attention(text), func(part prompt.Part) bool { return part.Weight != 1 && part.Text != "BREAK" })
}

// stylesOfHires is the release from which on the prompts of the hires pass have styles too.
var stylesOfHires, _ = parseVersion("1.8.0-139")

// takeStyles takes styles out of the prompts. Those of the hires pass need to have the same ones, and are left out where the rest
// of them is that of the first pass.
func (p Parameters) takeStyles(styles prompt.Styles, mode StylesMode) {
	if mode == "" || mode == IgnoreStyles {
		return
	}
	text, negative, found := styles.Extract(p.Text("Prompt"), p.Text("Negative prompt"))
	_, hires := p["Hires prompt"]
	_, hiresNegative := p["Hires negative prompt"]
	version, known := parseVersion(p.Text("Version"))
	if (hires || hiresNegative) && (!known || stylesOfHires.before(version)) {
		hiresText, hiresNegative, hiresFound := styles.Extract(p.either("Hires prompt", "Prompt"), p.either("Hires negative prompt", "Negative prompt"))
		if !slices.Equal(found, hiresFound) {
			return
		}
		p["Hires prompt"], p["Hires negative prompt"] = unless(hiresText, text), unless(hiresNegative, negative)
	}
	p["Prompt"], p["Negative prompt"] = text, negative
	if mode == ApplyStyles || mode == ApplyStylesIfIn && len(found) > 0 {
		p["Styles array"] = found
	}
}

// either is the value of a key, or else of another one.
func (p Parameters) either(key, other string) string {
	if _, ok := p[key]; !ok {
		key = other
	}
	return p.Text(key)
}

// unless is a text, or "" if it is the other one.
func unless(text, other string) string {
	if text == other {
		return ""
	}
	return text
}

// firstPass reads the old way of writing the hires pass: the size of the first one, 0 for one of about 512² pixels.
func (p Parameters) firstPass() {
	width, err1 := strconv.Atoi(p.Text("First pass size-1"))
	height, err2 := strconv.Atoi(p.Text("First pass size-2"))
	if err1 != nil || err2 != nil {
		return
	}
	p.missing("Size-1", "512")
	p.missing("Size-2", "512")
	fullWidth, _ := strconv.Atoi(p.Text("Size-1"))
	fullHeight, _ := strconv.Atoi(p.Text("Size-2"))
	if width == 0 || height == 0 {
		width, height = oldFirstPass(fullWidth, fullHeight)
	}
	p["Size-1"], p["Size-2"], p["Hires resize-1"], p["Hires resize-2"] = width, height, fullWidth, fullHeight
}

// oldFirstPass is the first pass of a picture, in steps of 64 pixels.
func oldFirstPass(width, height int) (int, int) {
	scale := math.Sqrt(512 * 512 / (float64(width) * float64(height)))
	return int(math.Ceil(scale*float64(width)/64)) * 64, int(math.Ceil(scale*float64(height)/64)) * 64
}

// Releases of the web UI that changed what a text means.
var (
	newTimelines, _ = parseVersion("1.6.0")
	newSchedule, _  = parseVersion("1.7.0-225")
	newRefiner, _   = parseVersion("1.8.0")
)

// asOf makes what the web UI calls compatible: settings under which old releases worked.
func (p Parameters) asOf(version string) {
	v, known := parseVersion(version)
	if !known {
		return
	}
	if v.before(newTimelines) {
		if strings.Contains(p.Text("Prompt"), "[") {
			p["Old prompt editing timelines"] = true
		}
		if s := p.Text("Sampler"); s == "DDIM" || s == "PLMS" {
			p["Pad conds v0"] = true
		}
	}
	if v.before(newSchedule) {
		p["Downcast alphas_cumprod"] = true
	}
	if v.before(newRefiner) && p.Text("Refiner") != "" {
		p["Refiner switch by sampling steps"] = true
	}
}

// version is the number of a release, and of a change after it: 1.8.0-139.
type version struct {
	numbers []int
	stage   int // before the release it is negative
}

// versions are numbers as Python's packages have them, with what the web UI writes behind them.
var versions = regexp.MustCompile(`(?i)^v?(\d+(?:\.\d+)*)(?:[-_.]?(a|alpha|b|beta|c|rc|pre|preview)[-_.]?(\d*))?(?:-(\d+)|[-_.]?(?:post|rev|r)[-_.]?(\d*))?$`)

// parseVersion reads a version; from the second hyphen on it is left out.
func parseVersion(s string) (v version, ok bool) {
	if parts := strings.SplitN(s, "-", 3); len(parts) == 3 {
		s = parts[0] + "-" + parts[1]
	}
	m := versions.FindStringSubmatch(trim(s))
	if m == nil {
		return v, false
	}
	for one := range strings.SplitSeq(m[1], ".") {
		n, _ := strconv.Atoi(one)
		v.numbers = append(v.numbers, n)
	}
	if v.stage, _ = strconv.Atoi(cmp.Or(m[4], m[5])); m[2] != "" {
		v.stage -= 1 << 30
	}
	for len(v.numbers) > 0 && v.numbers[len(v.numbers)-1] == 0 {
		v.numbers = v.numbers[:len(v.numbers)-1]
	}
	return v, true
}

// before reports whether a version came out earlier than another one.
func (v version) before(other version) bool {
	return cmp.Or(slices.Compare(v.numbers, other.numbers), cmp.Compare(v.stage, other.stage)) < 0
}
