package dataset

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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
	pictures := 0
	for _, entry := range entries {
		path := filepath.Join(parent, entry.Name())
		info, err := os.Stat(path) // a link to a folder is one
		if err != nil || !info.IsDir() {
			if hasExtension(path, imageExtensions) {
				pictures++
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
	if len(subsets) > 0 {
		return subsets, warnings, nil
	}
	const rule = `pictures belong into folders called "N_name", such as "12_sks dog" (12 repeats per epoch), inside the folder you give`
	switch _, _, isConcept := ParseFolder(filepath.Base(parent)); {
	case pictures > 0 && isConcept:
		err = fmt.Errorf("dataset: %s is itself a folder of pictures: give its parent %s", parent, filepath.Dir(filepath.Clean(parent)))
	case pictures > 0:
		err = fmt.Errorf("dataset: %s holds %d pictures itself: %s; move them into one", parent, pictures, rule)
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

// listing is what a folder holds.
type listing struct {
	pictures []string // sorted paths
	captions int      // files that look like captions
	unread   []string // pictures in formats nothing here decodes
	ignored  int      // subfolders
}

func listFolder(dir string) (listing, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return listing{}, fmt.Errorf("dataset: %w", err)
	}
	var l listing
	for _, entry := range entries {
		name, path := entry.Name(), filepath.Join(dir, entry.Name())
		switch {
		case strings.HasPrefix(name, "."):
		case entry.IsDir():
			l.ignored++
		case hasExtension(name, imageExtensions):
			l.pictures = append(l.pictures, path)
		case hasExtension(name, usualCaptionExtensions):
			l.captions++
		case hasExtension(name, otherExtensions):
			l.unread = append(l.unread, path)
		}
	}
	return l, nil
}
