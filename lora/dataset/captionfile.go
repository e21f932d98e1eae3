package dataset

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/atelier-go/atelier/internal/openfile"
)

// maxCaptionBytes bounds a caption file; 77 tokens are some hundreds of bytes.
const maxCaptionBytes = 1 << 20

// usualCaptionExtensions are tried when no extension is configured, and looked for when the configured one finds nothing.
var usualCaptionExtensions = []string{".txt", ".caption"}

// names are the files of a folder, by their names as the eye reads them: whatever the case, and however accents are composed.
type names map[string][]string

// fold is what names that look alike have in common.
func fold(name string) string { return strings.ToLower(norm.NFC.String(name)) }

func (n names) add(name string) { n[fold(name)] = append(n[fold(name)], name) }

// find is the file called name, or else one that looks like it.
func (n names) find(name string) (found string, exact bool) {
	alike := n[fold(name)]
	if slices.Contains(alike, name) {
		return name, true
	}
	if len(alike) == 0 {
		return "", false
	}
	return alike[0], false
}

// captionCandidates are the caption files a picture may have, best first. The second form belongs to face crops called
// name_cx_cy_w_h: the four numbers are taken off.
func captionCandidates(picture, extension string) []string {
	stem := strings.TrimSuffix(picture, filepath.Ext(picture))
	candidates := []string{stem + extension}
	if pieces := strings.Split(stem, "_"); len(pieces) >= 5 {
		candidates = append(candidates, strings.Join(pieces[:len(pieces)-4], "_")+extension)
	}
	return candidates
}

// CaptionFiles knows which files of a folder are captions of which of its pictures, by the rule of Subset.CaptionExtension "".
type CaptionFiles struct{ names names }

// NewCaptionFiles takes the names of all files in a folder.
func NewCaptionFiles(files []string) CaptionFiles {
	c := CaptionFiles{make(names)}
	for _, name := range files {
		c.names.add(name)
	}
	return c
}

// Of is the name of the file with a picture's caption, "" without one.
func (c CaptionFiles) Of(picture string) string {
	file, _ := c.names.findCaption(picture, "")
	return file
}

// findCaption is the caption file of a picture, empty without one. usual reports whether sd-scripts would find it too, which
// wants the very name and knows no p.jpg.txt.
func (n names) findCaption(picture, extension string) (file string, usual bool) {
	extensions := []string{extension}
	if extension == "" {
		extensions = usualCaptionExtensions
	}
	for _, extension := range extensions {
		usually := captionCandidates(picture, extension)
		for i, candidate := range append(usually, picture+extension) {
			if found, exact := n.find(candidate); found != "" {
				return found, exact && i < len(usually)
			}
		}
	}
	return "", false
}

// readCaption reads a caption file, and tells whether there is more in it than is used.
func readCaption(path string, wildcards bool) (caption string, more bool, err error) {
	data, err := openfile.ReadFile(path, maxCaptionBytes)
	if err != nil {
		return "", false, fmt.Errorf("dataset: caption: %w", err)
	}
	if caption, err = parseCaption(data, wildcards); err != nil {
		return "", false, fmt.Errorf("dataset: caption %s: %w", path, err)
	}
	return caption, len(bytes.Fields(data)) > len(strings.Fields(caption)), nil
}

// parseCaption takes the first line of a caption file, or with wildcards all lines that are not blank, each stripped.
func parseCaption(data []byte, wildcards bool) (string, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // Windows editors put it in front
	if len(data) == 0 {
		return "", errors.New("the file is empty: write a caption into it, or delete it to use the class tokens")
	}
	if !utf8.Valid(data) {
		return "", errors.New("not UTF-8: save the file with that encoding")
	}
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	lines := strings.Split(strings.ReplaceAll(text, "\r", "\n"), "\n")
	if !wildcards {
		return strings.TrimSpace(lines[0]), nil
	}
	var kept []string
	for _, line := range lines {
		if line = strings.TrimSpace(line); line != "" {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n"), nil
}
