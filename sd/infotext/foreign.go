package infotext

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// ForeignError says that a picture was made by a program whose settings are no infotext.
type ForeignError struct{ Program string }

// Error names the program, and what to do.
func (e *ForeignError) Error() string {
	return fmt.Sprintf("infotext: the picture was made by %s, whose settings cannot be read; copy prompt and settings by hand", e.Program)
}

// marks are the entries by which pictures of other programs are known.
var marks = []struct{ program, key, contains string }{
	{"NovelAI", "Software", "NovelAI"},
	{"InvokeAI", "invokeai_metadata", ""},
	{"InvokeAI", "invokeai_graph", ""},
	{"InvokeAI", "sd-metadata", ""},
	{"InvokeAI", "Dream", ""},
	{"ComfyUI", "workflow", "{"},
	{"ComfyUI", "prompt", "{"},
	{"Fooocus", "fooocus_scheme", ""},
	{"Draw Things", "XML:com.adobe.xmp", "Draw Things"},
}

// Program is the program other than the web UI that wrote the file, "" if it cannot be told.
func (m Metadata) Program() string {
	for _, mark := range marks {
		if text, ok := m.Get(mark.key); ok && strings.Contains(text, mark.contains) {
			return mark.program
		}
	}
	return ""
}

// novelAISamplers are NovelAI's names; every other is Euler a, as the web UI reads them.
var novelAISamplers = map[string]string{
	"k_dpmpp_2m": "DPM++ 2M", "k_dpmpp_sde": "DPM++ SDE", "k_dpmpp_2s_ancestral": "DPM++ 2S a", "k_dpmpp_2m_sde": "DPM++ 2M SDE",
	"k_euler": "Euler", "k_lms": "LMS", "k_heun": "Heun", "k_dpm_2": "DPM2", "k_dpm_2_ancestral": "DPM2 a", "k_dpm_fast": "DPM fast",
	"k_dpm_adaptive": "DPM adaptive", "ddim": "DDIM", "plms": "PLMS",
}

// novelAI is NovelAI's description as an infotext, "" if the picture is not by it.
func (m Metadata) novelAI() string {
	comment, _ := m.Get("Comment")
	var c struct {
		Steps, Scale, Seed json.Number
		Sampler, UC        string
	}
	if m.Program() != "NovelAI" || json.Unmarshal([]byte(comment), &c) != nil {
		return ""
	}
	text := Text{Negative: c.UC}
	text.Prompt, _ = m.Get("Description")
	sampler, ok := novelAISamplers[c.Sampler]
	if !ok {
		sampler = "Euler a"
	}
	for _, f := range []Field{
		{"Steps", c.Steps.String()}, {"Sampler", sampler}, {"CFG scale", c.Scale.String()}, {"Seed", c.Seed.String()},
		{"Size", fmt.Sprintf("%dx%d", m.Width, m.Height)}, {"Clip skip", "2"}, {"ENSD", "31337"},
	} {
		if f.Value != "" {
			text.Fields = append(text.Fields, f)
		}
	}
	return text.String()
}

// Read reads an infotext from a picture or from a text file, whichever it is given. A picture of another program is
// a *ForeignError, one without any text gives an empty one.
func Read(r io.Reader) (Text, error) {
	head := make([]byte, 12)
	n, err := io.ReadFull(r, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return Text{}, fmt.Errorf("infotext: %w", err)
	}
	head = head[:n]
	r = io.MultiReader(bytes.NewReader(head), r)
	if !slices.ContainsFunc([]func([]byte) bool{isPNG, isJPEG, isWebP}, func(is func([]byte) bool) bool { return is(head) }) {
		return readText(r)
	}
	m, err := Extract(r)
	if err != nil {
		return Text{}, err
	}
	text := m.Infotext()
	if program := m.Program(); text == "" && program != "" {
		return Text{}, &ForeignError{program}
	}
	return Parse(text), nil
}

// readText reads a text file.
func readText(r io.Reader) (Text, error) {
	file, err := io.ReadAll(io.LimitReader(r, maxText+1))
	if err != nil {
		return Text{}, fmt.Errorf("infotext: %w", err)
	}
	if len(file) > maxText || !utf8.Valid(file) || bytes.IndexByte(file, 0) >= 0 {
		return Text{}, fmt.Errorf("%w, and no text file in UTF-8 of at most %d bytes", ErrFormat, maxText)
	}
	return Parse(strings.TrimPrefix(string(file), "\ufeff")), nil
}
