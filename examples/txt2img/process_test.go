package main

import (
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"

	"github.com/atelier-go/atelier/examples/internal/program"
	"github.com/atelier-go/atelier/tinyportrait"
)

func TestMain(m *testing.M) { program.Main(m, main) }

// TestProcess draws as a shell does, from a checkpoint and to a picture whose names have blanks, umlauts and more; and once more while the
// checkpoint is replaced by something else, which must not show in the picture.
func TestProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "Löwe & Söhne (Größe 2), 100%")
	model := filepath.Join(dir, "Мой Modell")
	if err := os.CopyFS(model, tinyportrait.FS()); err != nil {
		t.Fatal(err)
	}
	start := func(name string) (*program.Process, string) {
		path := filepath.Join(dir, name)
		return program.Start(t, "-model", model, "-prompt", "portrait of a woman, grün", "-steps", "8", "-seed", "7", "-o", path), path
	}
	p, want := start("Bild für später.png")
	if status, log := p.End(); status != 0 {
		t.Fatalf("it exits with %d:\n%s", status, log)
	}
	p, got := start("Noch ein Bild.png")
	p.Await("sampling")
	replaced := 0
	for _, path := range networks(t, model) {
		if err := replace(t, path); err == nil {
			replaced++
		} else if runtime.GOOS != "windows" {
			t.Fatal(err)
		}
	}
	t.Logf("%d files of the checkpoint could be replaced", replaced)
	if status, log := p.End(); status != 0 {
		t.Fatalf("it exits with %d:\n%s", status, log)
	}
	picture, _ := read(t, want)
	again, _ := read(t, got)
	if !reflect.DeepEqual(picture, again) {
		t.Error("the picture drawn while the checkpoint was replaced is another one")
	}
}

// TestInterrupt is Ctrl-C in the middle of a picture.
func TestInterrupt(t *testing.T) {
	dir := t.TempDir()
	p := program.Start(t, "-prompt", "a face", "-steps", "1000", "-o", filepath.Join(dir, "a.png"))
	p.Await("sampling")
	p.Interrupt()
	if status, log := p.End(); status == 0 {
		t.Errorf("it exits with 0:\n%s", log)
	}
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("%q are left in the folder", left)
	}
}

// networks are the weight files of a folder.
func networks(t *testing.T, model string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(model, "*", "*.safetensors"))
	if err != nil || len(paths) < 3 {
		t.Fatalf("weights %q in the model: %v", paths, err)
	}
	return paths
}

// replace puts zeros of the same size in the place of a file.
func replace(t *testing.T, path string) error {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	zeros := filepath.Join(t.TempDir(), "zeros")
	if err := os.WriteFile(zeros, make([]byte, info.Size()), 0o644); err != nil {
		t.Fatal(err)
	}
	return os.Rename(zeros, path)
}
