package sd

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/atelier-go/atelier/sampler"
)

// version stands in infotexts. It must not parse as a bare version number: the web UI would take that for one of its
// own and switch to the behaviour of that release.
const version = "atelier-v0.1"

// infotext describes picture i of a resolved request in the web UI's format, which its "PNG Info" and other tools
// read back: the prompt, the negative prompt, then "Key: value" pairs. Adapters that the prompt does not name are
// added to it.
func infotext(r Request, applied adapters, model string, i int) string {
	var b strings.Builder
	b.WriteString(r.Prompt)
	for _, a := range applied {
		if !a.tagged {
			b.WriteString(" " + a.tag())
		}
	}
	if r.NegativePrompt != "" {
		b.WriteString("\nNegative prompt: " + r.NegativePrompt)
	}
	b.WriteString("\n")

	first := true
	add := func(key, value string) {
		if value == "" {
			return
		}
		if !first {
			b.WriteString(", ")
		}
		first = false
		b.WriteString(key + ": " + quoted(value))
	}
	add("Steps", strconv.Itoa(r.Steps))
	add("Sampler", string(r.Sampler))
	spacing := r.Spacing
	if setDefault(&spacing, r.Sampler.Spacing()); spacing == sampler.Automatic {
		spacing = "Automatic"
	}
	add("Schedule type", string(spacing))
	add("CFG scale", number(*r.Guidance))
	add("Seed", strconv.FormatInt(r.Seed+int64(i), 10))
	add("Size", fmt.Sprintf("%dx%d", r.Width, r.Height))
	add("Model", model)
	if r.ClipSkip > 1 {
		add("Clip skip", strconv.Itoa(r.ClipSkip))
	}
	add("RNG", string(r.Noise))
	add("Lora hashes", applied.hashes())
	if r.Eta != nil {
		add("Eta", number(*r.Eta))
	}
	add("Version", version)
	return b.String()
}

// tag is what applies the adapter when it stands in a prompt.
func (a *adapter) tag() string {
	s := "<lora:" + a.name + ":" + number(a.TextEncoder)
	if a.UNet != a.TextEncoder || a.Rank > 0 {
		s += ":" + number(a.UNet)
	}
	if a.Rank > 0 {
		s += ":" + strconv.Itoa(a.Rank)
	}
	return s + ">"
}

// shortHash is how many digits of an adapter's hash infotexts have.
const shortHash = 12

// hashes lists the adapters by name and the first digits of their hash.
func (all adapters) hashes() string {
	var list []string
	for _, a := range all {
		one := strings.NewReplacer(":", "", ",", "").Replace(a.name) + ": " + a.Hash[:shortHash]
		if !slices.Contains(list, one) {
			list = append(list, one)
		}
	}
	return strings.Join(list, ", ")
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// quoted writes a value the web UI's reader could not tell from its surroundings as a JSON string.
func quoted(value string) string {
	if !strings.ContainsAny(value, ",:\n") {
		return value
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(value) != nil {
		return value
	}
	return strings.TrimSuffix(b.String(), "\n")
}
