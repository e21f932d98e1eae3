package prompt

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/internal/webui"
	"github.com/atelier-go/atelier/sampler"
)

// lineValue is a value as the web UI's script reads it, whose numbers and truths it is for others to read here.
func lineValue(name, text string) (any, error) {
	switch name {
	case "sampler_name":
		s, _, err := sampler.Parse(text, "")
		if err != nil {
			return nil, nil
		}
		return string(s), nil
	case "restore_faces", "tiling", "do_not_save_samples", "do_not_save_grid":
		return text == "true", nil
	case "subseed_strength", "cfg_scale":
		return strconv.ParseFloat(text, 64)
	case "prompt", "negative_prompt", "styles", "outpath_samples", "outpath_grids", "prompt_for_display":
		return text, nil
	}
	if name == "sd_model" { // of which it had none but these
		if !strings.HasSuffix(text, "-model") {
			return nil, strconv.ErrSyntax
		}
		return text, nil
	}
	n, err := strconv.Atoi(text)
	return float64(n), err
}

func TestWebUILines(t *testing.T) {
	webui.Test(t, "prompts_from_file", func(t *testing.T, r struct {
		ID, Line, Error string
		Args            map[string]any
	}) {
		line, err := ParseLine(r.Line)
		got := map[string]any{}
		for name, text := range line {
			value, fault := lineValue(name, text)
			if got[name] = value; fault != nil {
				err = fault
			}
		}
		if (err != nil) != (r.Error != "") {
			t.Errorf("%s: %v, want %q", r.ID, err, r.Error)
		}
		if err == nil && fmt.Sprint(got) != fmt.Sprint(r.Args) {
			t.Errorf("%s: %q is %v, want %v", r.ID, r.Line, got, r.Args)
		}
	})
}

func TestReadLines(t *testing.T) {
	lines, err := ReadLines(strings.NewReader("\ufeffa cat, --ar 3:2\r\n\n  \n--steps 5 --prompt \"b\"\n--steps 7\n"))
	if err != nil || len(lines) != 3 || lines[2]["steps"] != "7" || lines[0]["prompt"] != "a cat, --ar 3:2" || lines[1]["steps"] != "5" {
		t.Errorf("%v, %v", lines, err)
	}
	if _, err := ReadLines(strings.NewReader("a\n--colour red")); err == nil || !strings.Contains(err.Error(), "line 2") || !strings.Contains(err.Error(), "cfg_scale") {
		t.Errorf("%v, want the line and what there is", err)
	}
}

// TestShellWords has what Python's shlex.split makes of the same lines.
func TestShellWords(t *testing.T) {
	for text, want := range map[string][]string{
		`a b`: {"a", "b"}, `'a b'c`: {"a bc"}, `""`: {""}, `a\ b`: {"a b"}, `"a\b\"\\"`: {`a\b"\`}, `'a\'`: {`a\`}, ` a  `: {"a"}, ``: nil,
	} {
		if got, err := shellWords(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s is %q, %v, want %q", text, got, err, want)
		}
	}
}

func FuzzReadLines(f *testing.F) {
	for _, text := range []string{"a\n--prompt b c --steps 3", `--prompt "a\"b`, "--prompt 'x' \\", "\ufeff--seed -1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		lines, err := ReadLines(strings.NewReader(text))
		if err == nil && len(lines) > strings.Count(text, "\n")+1 {
			t.Errorf("%d lines of %q", len(lines), text)
		}
	})
}
