package dataset

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/atelier-go/atelier/internal/picture"
)

// ParseFolder splits a folder name "N_name" into the number of repeats and the class tokens, the fallback caption. Class
// tokens are all that follows the first underscore; without one they are empty. ok is false if the name does not start with a number.
func ParseFolder(name string) (repeats int, classTokens string, ok bool) {
	number, classTokens, _ := strings.Cut(name, "_")
	repeats, err := strconv.Atoi(strings.TrimSpace(number))
	return repeats, classTokens, err == nil
}

// conceptFolders lists the usable folders of a parent as subsets with the options of template. Skipped ones are told in warnings.
func conceptFolders(parent string, reg bool, template Subset) (subsets []Subset, warnings []string, err error) {
	entries, err := os.ReadDir(parent) // sorted by name
	if err != nil {
		return nil, nil, fmt.Errorf("dataset: %w", err)
	}
	var pictures []string // that lie beside the folders
	for _, entry := range entries {
		path := filepath.Join(parent, entry.Name())
		info, err := os.Stat(path) // a link to a folder is one
		if err != nil || !info.IsDir() {
			if isPicture(path) || hasExtension(path, unreadExtensions) {
				pictures = append(pictures, entry.Name())
			}
			continue
		}
		repeats, classTokens, ok := ParseFolder(entry.Name())
		switch {
		case !ok:
			warnings = append(warnings, fmt.Sprintf(`folder %s is skipped: its name does not start with a number of repeats, as in "12_sks dog"`, path))
		case repeats < 1:
			warnings = append(warnings, fmt.Sprintf("folder %s is skipped: it asks for %d repeats", path, repeats))
		case repeats > maxRepeats:
			return nil, nil, fmt.Errorf("dataset: folder %s asks for %d repeats, at most %d make sense: rename it", path, repeats, maxRepeats)
		default:
			subset := template
			subset.ImageDir, subset.Repeats, subset.ClassTokens, subset.Reg = path, repeats, classTokens, reg
			subsets = append(subsets, subset)
		}
	}
	const rule = `pictures belong into folders called "N_name", such as "12_sks dog" (12 repeats per epoch), inside the folder you give`
	if len(subsets) > 0 {
		if len(pictures) > 0 {
			warnings = append(warnings, fmt.Sprintf("%s: %d pictures beside the folders are not used: %s; %s", parent, len(pictures), list(pictures), rule))
		}
		return subsets, warnings, nil
	}
	switch _, _, isConcept := ParseFolder(filepath.Base(parent)); {
	case len(pictures) > 0 && isConcept:
		err = fmt.Errorf("dataset: %s is itself a folder of pictures: give its parent %s", parent, filepath.Dir(filepath.Clean(parent)))
	case len(pictures) > 0:
		err = fmt.Errorf("dataset: %s holds %d pictures itself: %s; move them into one", parent, len(pictures), rule)
	case len(entries) == 0:
		err = fmt.Errorf("dataset: %s is empty: %s", parent, rule)
	default:
		err = fmt.Errorf("dataset: no usable folder in %s: %s", parent, rule)
	}
	errs := []error{err}
	for _, w := range warnings {
		errs = append(errs, fmt.Errorf("dataset: %s", w))
	}
	return nil, warnings, errors.Join(errs...)
}

// listing is what a folder holds, by names.
type listing struct {
	pictures []string // sorted
	unread   []string // pictures in formats nothing here decodes
	others   []string // all other files
	ignored  int      // subfolders
	names    names    // the others
}

// unreadExtensions are of pictures that nothing here decodes.
var unreadExtensions = []string{".avif", ".heic", ".heif", ".jxl", ".jp2", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".psd", ".svg", ".xcf"}

func isPicture(name string) bool { return hasExtension(name, picture.Extensions) }

func hasExtension(name string, extensions []string) bool {
	return slices.Contains(extensions, strings.ToLower(filepath.Ext(name)))
}

// bySystem reports whether a file lies there by the system's doing.
func bySystem(name string) bool {
	hidden := strings.HasPrefix(name, ".") && !isPicture(name)
	return hidden || strings.HasPrefix(name, "._") || strings.EqualFold(name, "thumbs.db") || strings.EqualFold(name, "desktop.ini")
}

func listFolder(dir string) (listing, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return listing{}, fmt.Errorf("dataset: %w", err)
	}
	l := listing{names: make(names)}
	for _, entry := range entries {
		switch name := entry.Name(); {
		case entry.IsDir() && !strings.HasPrefix(name, "."):
			l.ignored++
		case entry.IsDir() || bySystem(name):
		case isPicture(name) && !strings.HasPrefix(name, "."):
			l.pictures = append(l.pictures, name)
		case hasExtension(name, unreadExtensions):
			l.unread = append(l.unread, name)
		case !hasExtension(name, []string{".npz"}): // cached latents
			l.others = append(l.others, name)
			l.names.add(name)
		}
	}
	return l, nil
}
