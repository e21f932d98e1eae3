package portrait

import (
	"fmt"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/invalid"
)

// Preset is a kind of portrait: what is to be seen and what is not, in the web UI's language. In the prompt, {person} stands for the
// person's name and class, and {lora} for the tag that applies the LoRA at the chosen weight.
type Preset struct {
	Name             string
	Prompt, Negative string
}

// unwanted is what no portrait should have.
const unwanted = "(worst quality, low quality, blurry:1.3), (deformed face, crossed eyes, uneven eyes:1.2), painting, cartoon, drawing, render, waxen skin, heavy makeup, text, watermark, frame, hands, several people, cropped head, hat, sunglasses"

// Presets are the portraits that people need.
var Presets = []Preset{
	{"linkedin", "{lora} (portrait photo of {person}:1.1), head and shoulders, (looking at the camera:1.1), (friendly slight smile:1.1), dark blazer over a light shirt, (plain light grey background:1.2), soft window light from the left, sharp eyes, natural skin with pores, 85mm lens, shallow depth of field", unwanted},
	{"cv", "{lora} (formal portrait photo of {person}:1.1), head and shoulders, facing the camera, (calm and confident:1.1), tidy hair, navy suit, white shirt, (plain white background:1.2), even soft light, sharp eyes, natural skin, 70mm lens", unwanted + ", (grin:1.1), harsh shadows"},
	{"studio", "{lora} (studio portrait photo of {person}:1.1), head and shoulders, turned slightly to the side, looking at the camera, black turtleneck, (dark grey backdrop:1.2), large softbox as key light, faint rim light, sharp eyes, natural skin, fine detail, 85mm lens", unwanted + ", flat light"},
	{"outdoor", "{lora} (outdoor portrait photo of {person}:1.1), head and shoulders, looking at the camera, (relaxed smile:1.1), smart casual shirt, (blurred green park behind:1.1), light of an overcast afternoon, sharp eyes, natural skin, 85mm lens, shallow depth of field", unwanted + ", harsh sun, squinting"},
}

// findPreset is the preset of a name, the first if that is "".
func findPreset(name string) (Preset, error) {
	if name == "" {
		return Presets[0], nil
	}
	var names []string
	for _, p := range Presets {
		names = append(names, p.Name)
	}
	if i := slices.Index(names, name); i >= 0 {
		return Presets[i], nil
	}
	return Preset{}, invalid.Field("Pictures.Preset", name, "one of %s", strings.Join(names, ", "))
}

// tag is what applies a LoRA in a prompt.
func tag(lora string, weight float64) string { return fmt.Sprintf("<lora:%s:%.2g>", lora, weight) }

// fill puts a person into a prompt: in place of {person} and {lora}, and in front and behind if the prompt has no word of them.
func fill(prompt, name, class, lora string, weight float64) string {
	prompt = strings.NewReplacer("{person}", name+" "+class, "{lora}", tag(lora, weight)).Replace(prompt)
	if !strings.Contains(prompt, name) {
		prompt = fmt.Sprintf("photo of %s %s, %s", name, class, prompt)
	}
	if !strings.Contains(prompt, "<lora:"+lora+":") {
		prompt += " " + tag(lora, weight)
	}
	return prompt
}
