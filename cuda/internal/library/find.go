package library

import (
	"fmt"
	"strings"
)

// Symbols is an opened library.
type Symbols interface {
	// Symbol is the address of an exported function.
	Symbol(name string) (uintptr, error)
}

// Library is an opened member of a family.
type Library struct {
	Symbols
	Path string // absolute, or the bare name where the system found it
	Why  string // what pointed there
}

// Attempt is what came of looking in one place.
type Attempt struct {
	Place
	File    string // the file that was there; "" if there was none
	Problem string // why it was not taken
}

// NotFoundError says where a family was looked for and what came of it.
type NotFoundError struct {
	Family   string
	Advice   string
	Attempts []Attempt
}

// Error lists the places that had something first, then the others, and what to do.
func (e *NotFoundError) Error() string {
	var had, empty []string
	for _, a := range e.Attempts {
		switch where := a.where(); {
		case a.File != "":
			had = append(had, fmt.Sprintf("%s (%s): %s", a.File, a.Why, a.Problem))
		default:
			empty = append(empty, where)
		}
	}
	text := e.Family + " was not found"
	if len(had) > 0 {
		text = e.Family + " cannot be used: " + strings.Join(had, "; ")
	}
	if len(empty) > 0 {
		text += "; there is none in " + strings.Join(empty, ", ")
	}
	return text + ". " + e.Advice
}

func (a Attempt) where() string {
	if a.Folder == "" {
		return "what the system searches"
	}
	return fmt.Sprintf("%s (%s)", a.Folder, a.Why)
}

// Find opens the first library of a family that a driver of the given CUDA version (12 of 12.4) can work with.
// It fails with a *NotFoundError.
func (c Computer) Find(f Family, cuda int) (*Library, error) {
	failed := &NotFoundError{Family: f.Name, Advice: fmt.Sprintf(
		"It is optional and may make things faster; to have it, install the Python package %s, or set %s to the folder that it is in.", f.Package, FolderVariable)}
	for _, place := range c.Places(f) {
		before := len(failed.Attempts)
		for _, version := range f.Versions {
			files := version.files(c.Windows)
			name := files[len(files)-1]
			if place.Folder != "" && !c.holds(place.Folder, name) {
				continue
			}
			lib, problem := c.take(place, version, cuda)
			if lib != nil {
				return lib, nil
			}
			if place.Folder != "" {
				failed.Attempts = append(failed.Attempts, Attempt{place, c.join(place.Folder, name), problem})
			}
		}
		if len(failed.Attempts) == before {
			failed.Attempts = append(failed.Attempts, Attempt{Place: place})
		}
	}
	return nil, failed
}

// take opens one version from one place, or says why it cannot.
func (c Computer) take(place Place, version Version, cuda int) (*Library, string) {
	if version.CUDA > cuda {
		return nil, fmt.Sprintf("it is for CUDA %d and the driver knows %d: update the driver", version.CUDA, cuda)
	}
	undo := c.Beside(place.Folder)
	files := version.files(c.Windows)
	last := len(files) - 1
	for _, part := range files[:last] {
		if place.Folder != "" && c.holds(place.Folder, part) {
			c.Open(c.join(place.Folder, part)) // what cannot be opened is missed later, by the library that needs it
		}
	}
	file := files[last]
	if place.Folder != "" {
		file = c.join(place.Folder, file)
	}
	symbols, err := c.Open(file)
	if err != nil {
		undo()
		return nil, err.Error()
	}
	return &Library{symbols, file, place.Why}, ""
}

// OpenDriver opens the driver's library. It fails with a *NotFoundError.
func (c Computer) OpenDriver() (*Library, error) {
	name := "libcuda.so.1" // libcuda.so without a number is the toolkit's stub, which has no driver behind it
	advice := "Install NVIDIA's driver, version 525 or newer; under WSL the one for Windows."
	if c.Windows {
		name, advice = "nvcuda.dll", "Install NVIDIA's driver, version 525 or newer."
	}
	symbols, err := c.Open(name)
	if err != nil {
		return nil, &NotFoundError{Family: "NVIDIA's driver", Advice: advice, Attempts: []Attempt{{Place{"", "the system"}, name, err.Error()}}}
	}
	return &Library{symbols, name, "the system"}, nil
}
