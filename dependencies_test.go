package atelier_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDependencies holds the first table of docs/dependencies.md to what go.mod requires for this module's own packages.
func TestDependencies(t *testing.T) {
	var required []string
	for line := range strings.Lines(read(t, "go.mod")) {
		if f := strings.Fields(strings.TrimPrefix(line, "require ")); len(f) == 2 && strings.HasPrefix(f[1], "v") {
			required = append(required, f[0])
		}
	}
	table, _, _ := strings.Cut(read(t, "docs/dependencies.md"), "\nTried, and left out")
	var argued []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(table, -1) {
		argued = append(argued, row[1])
	}
	slices.Sort(required)
	slices.Sort(argued)
	if !slices.Equal(required, argued) {
		t.Errorf("go.mod requires %q,\ndocs/dependencies.md argues for %q", required, argued)
	}
}

// TestNotice holds NOTICE to the modules that packages of this one link on any system, and to what their licences say.
func TestNotice(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command here")
	}
	linked := make(map[string]string) // module → its folder
	for _, system := range []string{"linux", "windows", "darwin"} {
		list := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}", "./...")
		list.Env = append(os.Environ(), "GOOS="+system, "GOARCH=amd64", "CGO_ENABLED=0")
		out, err := list.Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			if path, dir, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
				linked[path] = dir
			}
		}
	}
	named := make(map[string][]string) // module → licence, copyright
	for _, line := range regexp.MustCompile(`(?m)^(\S+\.\S+/\S+) +(MIT|BSD-2-Clause|BSD-3-Clause|Apache-2\.0) +(.+)$`).FindAllStringSubmatch(read(t, "NOTICE"), -1) {
		named[line[1]] = line[2:]
	}
	for path, dir := range linked {
		notice, ok := named[path]
		delete(named, path)
		if !ok {
			t.Errorf("NOTICE does not name %s", path)
			continue
		}
		text := licence(t, dir)
		if got := kind(text); got != notice[0] {
			t.Errorf("NOTICE says that %s is under %s, its licence reads like %s", path, notice[0], got)
		}
		for copyright := range strings.SplitSeq(notice[1], "; ") {
			if !strings.Contains(text, copyright) && copyright != "no copyright line" {
				t.Errorf("NOTICE has %q for %s, its licence does not", copyright, path)
			}
		}
	}
	if len(named) > 0 {
		t.Errorf("NOTICE names what is not linked: %q", slices.Sorted(maps.Keys(named)))
	}
}

// licence is the text of a module's licence.
func licence(t *testing.T, dir string) string {
	t.Helper()
	for _, pattern := range []string{"LICEN[SC]E*", "COPYING*"} {
		if found, _ := filepath.Glob(filepath.Join(dir, pattern)); len(found) > 0 {
			return read(t, found[0])
		}
	}
	t.Fatalf("%s has no licence", dir)
	return ""
}

// kind tells licences by words that only they have.
func kind(licence string) string {
	licence = strings.Join(strings.Fields(licence), " ")
	switch {
	case strings.Contains(licence, "Apache License Version 2.0"):
		return "Apache-2.0"
	case strings.Contains(licence, "Permission is hereby granted, free of charge"):
		return "MIT"
	case strings.Contains(licence, "endorse or promote products"):
		return "BSD-3-Clause"
	case strings.Contains(licence, "Redistributions in binary form"):
		return "BSD-2-Clause"
	}
	return "none that is known here"
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
