package filename

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/atelier-go/atelier/internal/python"
	"github.com/atelier-go/atelier/invalid"
)

// Naming is how the pictures of a folder are named. Its zero value is the web UI's: 2024-07-27/00000-1234567890.png.
type Naming struct {
	Pattern       string // of names, behind a running number; "" is [seed], without folders [seed]-[prompt_spaces]
	FolderPattern string // of the folders below; "" is [date]
	NoFolders     bool   // none for pictures
	NoGridFolders bool   // none for grids
	NoNumber      bool   // no running number where Pattern gives a name
}

// File is what is said of one file, besides the values of its name.
type File struct {
	Grid   bool   // several pictures in one
	Short  bool   // a number alone, if it has a seed or not
	Suffix string // behind what the pattern gives, such as "-before-highres-fix"
	Ext    string // "" is "png"
	Name   string // instead of number and pattern
	Flat   bool   // in no folder below
}

// Path is where a picture goes in a folder. Running numbers go on from those that are there. A name that would leave the folder is
// an *invalid.FieldError.
func (n Naming) Path(folder string, v *Values, f File) (string, error) {
	below := n.folder(v, f)
	dir := filepath.Join(folder, below)
	name := f.Name
	if name == "" {
		number, err := NextNumber(dir, v.Base)
		if err != nil {
			return "", err
		}
		name = n.name(v, f, number)
	}
	local := filepath.Join(below, name+"."+withDefault(f.Ext, "png"))
	if !filepath.IsLocal(local) {
		return "", invalid.Field("Naming.Pattern", local, "a pattern that stays in its folder")
	}
	return filepath.Join(folder, local), nil
}

func (n Naming) folder(v *Values, f File) string {
	if f.Flat || !f.Grid && n.NoFolders || f.Grid && n.NoGridFolders {
		return ""
	}
	below := v.Fill(withDefault(n.FolderPattern, "[date]"))
	return filepath.FromSlash(strings.TrimRight(strings.TrimLeft(below, " "), `\ /`))
}

// name is that of a file with a number that no other has.
func (n Naming) name(v *Values, f File, number int) string {
	pattern := ""
	switch {
	case f.Short || v.Seed == nil:
	case n.Pattern != "":
		pattern = n.Pattern
	case n.NoFolders:
		pattern = "[seed]-[prompt_spaces]"
	default:
		pattern = "[seed]"
	}
	decoration := v.Fill(pattern) + f.Suffix
	if n.NoNumber && decoration != "" {
		return filepath.FromSlash(decoration)
	}
	if decoration != "" {
		decoration = "-" + decoration
	}
	if v.Base == "" {
		return fmt.Sprintf("%05d", number) + filepath.FromSlash(decoration)
	}
	return fmt.Sprintf("%s-%04d", v.Base, number) + filepath.FromSlash(decoration)
}

// NextNumber is one more than the highest number that names in a folder begin with, behind base and "-" if there is one; 0 in a
// folder without, or that is yet to be made.
func NextNumber(folder, base string) (int, error) {
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("filename: looking for numbers of files: %w", err)
	}
	if base != "" {
		base += "-"
	}
	highest := -1
	for _, e := range entries {
		if rest, ok := strings.CutPrefix(e.Name(), base); ok {
			digits, _, _ := strings.Cut(stem(rest), "-")
			if number, err := python.Int(digits); err == nil {
				highest = max(highest, number)
			}
		}
	}
	return highest + 1, nil
}

// stem is a name without its ending; dots at the beginning belong to the name.
func stem(name string) string {
	at := strings.LastIndexByte(name, '.')
	if strings.Trim(name[:max(at, 0)], ".") == "" {
		return name
	}
	return name[:at]
}
