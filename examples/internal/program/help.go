package program

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// Help checks that a program's help fits a screen of 40 lines and 100 columns, and leads with how the program is called.
func Help(t *testing.T, name, help string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(help, "\n"), "\n")
	if len(lines) > 40 {
		t.Errorf("the help has %d lines, want 40 at most:\n%s", len(lines), help)
	}
	for _, line := range lines {
		if n := utf8.RuneCountInString(line); n > 100 {
			t.Errorf("a line of %d columns: %s", n, line)
		}
	}
	if before, _, found := strings.Cut(help, "\n  -"); !found || !strings.Contains(before, "\n  "+name) {
		t.Errorf("no call of %s stands before the flags:\n%s", name, help)
	}
}
