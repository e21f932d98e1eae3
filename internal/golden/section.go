package golden

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Section holds what a page of the repository says between two comments, <!-- name --> and <!-- end of name -->, to a text, or writes it.
func Section(t testing.TB, page, name, text string, update bool) {
	t.Helper()
	path := filepath.Join(Root(t), filepath.FromSlash(page))
	data, err := os.ReadFile(path)
	check(t, err)
	begin, end := fmt.Sprintf("<!-- %s -->\n", name), fmt.Sprintf("<!-- end of %s -->\n", name)
	head, rest, ok := strings.Cut(strings.ReplaceAll(string(data), "\r\n", "\n"), begin)
	old, tail, found := strings.Cut(rest, end)
	switch {
	case !ok || !found:
		t.Fatalf("%s has no place for %s", page, name)
	case update:
		check(t, os.WriteFile(path, []byte(head+begin+text+end+tail), 0o666))
	case old != text:
		t.Errorf("%s has other %s; the test's -update writes\n%s", page, name, text)
	}
}
