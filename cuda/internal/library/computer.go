package library

import (
	"cmp"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
)

// Computer is what a search sees of a machine.
type Computer struct {
	Windows     bool
	Environment []string                           // "NAME=value", as os.Environ has it
	Executable  string                             // absolute path of the running program; "" if it cannot be told
	Home        string                             // the user's home folder; "" if there is none
	Registered  []string                           // folders that the user named: of libraries, of a virtual environment or of a web UI
	Names       func(folder string) []string       // what lies in a folder; nothing where there is no such folder
	Open        func(path string) (Symbols, error) // opens the library with this path, or by its bare name the system's
	Beside      func(folder string) (undo func())  // lets libraries find others in a folder by their bare names
}

// Here is the machine that the program runs on.
func Here() Computer {
	executable, _ := os.Executable()
	home, _ := os.UserHomeDir()
	return Computer{
		Windows: runtime.GOOS == "windows", Environment: os.Environ(), Executable: executable, Home: home,
		Names: namesIn, Open: open, Beside: beside,
	}
}

func namesIn(folder string) (names []string) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// variable is the value of an environment variable, "" if it is not set. Windows does not tell upper case from lower.
func (c Computer) variable(name string) string {
	for _, setting := range c.Environment {
		key, value, _ := strings.Cut(setting, "=")
		if key == name || c.Windows && strings.EqualFold(key, name) {
			return value
		}
	}
	return ""
}

// join puts a path together with the machine's own separator, which need not be that of the machine the test runs on.
func (c Computer) join(parts ...string) string {
	if !c.Windows {
		return path.Join(parts...)
	}
	return strings.Join(parts, `\`)
}

// parent is the folder that holds the file of the given path.
func (c Computer) parent(file string) string {
	return file[:max(strings.LastIndexAny(file, c.separators()), 0)]
}

func (c Computer) separators() string {
	if c.Windows {
		return `\/`
	}
	return "/"
}

// list splits a list of folders as the system writes it.
func (c Computer) list(folders string) []string {
	separator := ":"
	if c.Windows {
		separator = ";"
	}
	return slices.DeleteFunc(strings.Split(folders, separator), func(folder string) bool { return folder == "" })
}

// glob lists the folders below root that the parts of a pattern lead to, the newest version first: cuda-12.10 before cuda-12.9.
func (c Computer) glob(root string, pattern ...string) []string {
	folders := []string{root}
	for _, part := range pattern {
		var deeper []string
		for _, folder := range folders {
			for _, name := range c.matches(folder, part) {
				deeper = append(deeper, c.join(folder, name))
			}
		}
		folders = deeper
	}
	return folders
}

func (c Computer) matches(folder, pattern string) (names []string) {
	for _, name := range c.Names(folder) {
		if ok, _ := path.Match(c.fold(pattern), c.fold(name)); ok {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return compareVersions(b, a) })
	return names
}

// fold makes names equal that the system takes for one.
func (c Computer) fold(name string) string {
	if c.Windows {
		return strings.ToLower(name)
	}
	return name
}

// holds reports whether a folder has a file of this name.
func (c Computer) holds(folder, name string) bool {
	return slices.ContainsFunc(c.Names(folder), func(have string) bool { return c.fold(have) == c.fold(name) })
}

// compareVersions orders names as people do, numbers in them by their size.
func compareVersions(a, b string) int {
	for a != "" && b != "" {
		x, y := digits(a), digits(b)
		if x == 0 || y == 0 {
			if a[0] != b[0] {
				return cmp.Compare(a[0], b[0])
			}
			a, b = a[1:], b[1:]
			continue
		}
		m, n := strings.TrimLeft(a[:x], "0"), strings.TrimLeft(b[:y], "0")
		if order := cmp.Or(cmp.Compare(len(m), len(n)), cmp.Compare(m, n)); order != 0 {
			return order
		}
		a, b = a[x:], b[y:]
	}
	return cmp.Compare(len(a), len(b))
}

// digits counts the digits that a text begins with.
func digits(text string) int { return len(text) - len(strings.TrimLeft(text, "0123456789")) }
