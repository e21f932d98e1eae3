package library

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/atelier-go/atelier/internal/atomicfile"
	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sd/prompt"
)

// maxStyles is the most bytes that a file of styles may have.
const maxStyles = 16 << 20

// readStyles reads a file of styles; one that is not there has none.
func readStyles(path string) (prompt.Styles, error) {
	if path == "" {
		return nil, nil
	}
	data, err := openfile.ReadFile(path, maxStyles)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("styles: %w", err)
	}
	styles, err := prompt.ReadStyles(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return styles, nil
}

// Styles are those of styles.csv, in its order.
func (l *Library) Styles() prompt.Styles {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.styles)
}

// SaveStyle adds a style to styles.csv, or replaces the one of its name.
func (l *Library) SaveStyle(s prompt.Style) error {
	if s.Name == "" || s.Name[0] == '#' {
		return fmt.Errorf("library: %w", invalid.Field("Style.Name", s.Name, "a name that does not begin with #"))
	}
	return l.changeStyles(func(all prompt.Styles) (prompt.Styles, error) {
		if at := slices.IndexFunc(all, func(have prompt.Style) bool { return have.Name == s.Name }); at >= 0 {
			all[at] = s
			return all, nil
		}
		return append(all, s), nil
	})
}

// DeleteStyle takes a style out of styles.csv. If there is none of the name it is a *NotFoundError.
func (l *Library) DeleteStyle(name string) error {
	return l.changeStyles(func(all prompt.Styles) (prompt.Styles, error) {
		at := slices.IndexFunc(all, func(have prompt.Style) bool { return have.Name == name })
		if at < 0 {
			e := &NotFoundError{Kind: "style", Name: name}
			for _, s := range all {
				e.Known = append(e.Known, s.Name)
			}
			return nil, e
		}
		return slices.Delete(all, at, at+1), nil
	})
}

// changeStyles changes the file, as it is now, whatever wrote it last.
func (l *Library) changeStyles(edit func(prompt.Styles) (prompt.Styles, error)) error {
	if l.places.styles == "" {
		return errors.New("library: there is no file for styles; give Options.DataDir or Options.StylesFile")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	styles, err := readStyles(l.places.styles)
	if err == nil {
		styles, err = edit(styles)
	}
	var text bytes.Buffer
	if err == nil {
		err = styles.Write(&text)
	}
	if err == nil {
		err = atomicfile.WriteFile(l.places.styles, text.Bytes())
	}
	if err != nil {
		return fmt.Errorf("library: %w", err)
	}
	l.styles = styles
	return nil
}
