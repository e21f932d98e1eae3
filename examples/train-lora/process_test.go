package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/examples/internal/program"
	"github.com/atelier-go/atelier/tinyportrait"
)

func TestMain(m *testing.M) { program.Main(m, main) }

// TestProcess is a training as a shell runs it, of a model, to a folder and from photos whose names have blanks, umlauts
// and more: Ctrl-C ends it with what it has learned, and -resume goes on to the end.
func TestProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "Löwe & Söhne (Größe 2), 100%")
	model, data, output := filepath.Join(dir, "Mein Modell"), filepath.Join(dir, "Фото für später"), filepath.Join(dir, "Ausgabe ä")
	for to, from := range map[string]string{data: photos, output: t.TempDir()} {
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(model, tinyportrait.FS()); err != nil {
		t.Fatal(err)
	}
	args := []string{"-model", model, "-data", data, "-output_dir", output, "-output", "Müller 1", "-max_train_steps", "40", "-train_batch_size", "1",
		"-resolution", "64", "-min_bucket_reso", "64", "-network_dim", "2"}
	p := program.Start(t, args...)
	p.Await("steps:  ")
	p.Interrupt()
	if status, log := p.End(); status != 130 || !strings.Contains(log, "Müller 1") {
		t.Fatalf("after Ctrl-C it exits with %d, want 130:\n%s", status, log)
	}
	if status, log := program.Start(t, append(args, "-resume", "latest")...).End(); status != 0 {
		t.Fatalf("resumed, it exits with %d:\n%s", status, log)
	}
	trained(t, filepath.Join(output, "Müller 1.safetensors"), map[string]string{"ss_steps": "40", "ss_output_name": "Müller 1"})
}
