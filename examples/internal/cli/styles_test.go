package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/sd"
)

// TestStyles adds two styles, and is answered with all when it names another.
func TestStyles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "styles.csv")
	if err := os.WriteFile(path, []byte("name,prompt,negative_prompt\nphoto,\"photo of {prompt}, 85mm\",painting\nwarm,warm light,\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for names, want := range map[string]string{"photo warm": "photo of a cat, 85mm, warm light", "": "a cat", "cold": ""} {
		var s Styles
		f := NewFlags("draw", "", new(strings.Builder))
		f.Styles(&s)
		args := []string{"-styles", path}
		for name := range strings.FieldsSeq(names) {
			args = append(args, "-style", name)
		}
		if err := f.Parse(args, 0); err != nil {
			t.Fatal(err)
		}
		r := sd.Request{Prompt: "a cat"}
		if err := s.Apply(&r); want != "" && (err != nil || r.Prompt != want) || want == "" && (err == nil || !strings.Contains(err.Error(), "warm")) {
			t.Errorf("%s: %q, %v, want %q", names, r.Prompt, err, want)
		}
	}
}

// TestWarnings shows a warning with what it is about, in one line that a terminal can take, and nothing below.
func TestWarnings(t *testing.T) {
	var log strings.Builder
	w := Warnings(&log)
	w.Info("opened", "file", "a.pt")
	w.Warn("embedding skipped", "file", "\x1b[2Je.pt", "reason", "a JSON answer")
	if got, want := log.String(), "warning: embedding skipped: \\x1b[2Je.pt: a JSON answer\n"; got != want {
		t.Errorf("the log is %q, want %q", got, want)
	}
}
