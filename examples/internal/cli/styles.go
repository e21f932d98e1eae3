package cli

import (
	"fmt"
	"io"

	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/sd/prompt"
)

// Styles are those of a file, and the names of those to use.
type Styles struct {
	all   prompt.Styles
	names []string
}

// maxStyles is how large a file of styles may be.
const maxStyles = 16 << 20

// ReadStyles reads a styles.csv of the web UI.
func ReadStyles(path string) (prompt.Styles, error) {
	f, err := openfile.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return prompt.ReadStyles(io.LimitReader(f, maxStyles))
}

// Styles defines -styles and -style.
func (f *Flags) Styles(s *Styles) {
	f.Func("styles", "`FILE` styles.csv of the web UI, from which -style takes", func(path string) (err error) {
		s.all, err = ReadStyles(path)
		return err
	})
	f.Func("style", "`NAME` a style to add to the prompts; repeat it for several", func(name string) error {
		s.names = append(s.names, name)
		return nil
	})
}

// Apply adds the styles to a request's prompts.
func (s *Styles) Apply(r *sd.Request) error {
	for _, name := range s.names {
		if _, ok := s.all.Find(name); !ok {
			var there []string
			for _, style := range s.all {
				there = append(there, style.Name)
			}
			return fmt.Errorf("-style is %q, want a style of the file of -styles: one of %q", name, there)
		}
	}
	r.Prompt, r.NegativePrompt = s.all.Apply(r.Prompt, r.NegativePrompt, s.names...)
	return nil
}
