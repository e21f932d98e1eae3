package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/examples/internal/program"
)

func TestMain(m *testing.M) { program.Main(m, main) }

func TestTrain(t *testing.T) {
	tiny, dir := filepath.Join("..", "..", "..", "tinyportrait"), t.TempDir()
	status, log := program.Start(t, "-pretrained_model_name_or_path", filepath.Join(tiny, "model"), "-train_data_dir", filepath.Join(tiny, "photos"),
		"-output_dir", dir, "-output_name", "person", "-max_train_steps", "2", "-resolution", "64", "-min_bucket_reso", "64").End()
	if status != 0 || !strings.Contains(log, "step 2 of 2, average loss 0.") {
		t.Errorf("status %d, and\n%s", status, log)
	}
	if _, err := os.Stat(filepath.Join(dir, "person.safetensors")); err != nil {
		t.Error(err)
	}
}
