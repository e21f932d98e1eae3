package cli

import (
	"bytes"
	"cmp"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPrograms holds all example programs to what Main gives them to write to, so that none misses that it could not.
func TestPrograms(t *testing.T) {
	examples, programs := filepath.Join("..", ".."), 0
	err := filepath.WalkDir(examples, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && path == filepath.Join(examples, "internal") {
			return cmp.Or(err, fs.SkipDir)
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		source, err := os.ReadFile(path)
		for _, no := range []string{"os.Stdout", "fmt.Print(", "fmt.Printf(", "fmt.Println("} {
			if bytes.Contains(source, []byte(no)) {
				t.Errorf("%s has %s: it is to write to what cli.Main gives it", path, no)
			}
		}
		if bytes.Contains(source, []byte("cli.Main(")) {
			programs++
		}
		return err
	})
	if err != nil || programs < 12 {
		t.Errorf("%d programs, %v", programs, err)
	}
}
