package main

import (
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"github.com/atelier-go/atelier/weights"
)

// TestMetadata trains a step with options of which testdata has the metadata that sd-scripts' train_network.py (48d368f) writes,
// and compares them key by key: numbers as numbers, JSON as what it says.
func TestMetadata(t *testing.T) {
	if testing.Short() {
		t.Skip("three trainings")
	}
	goldens, err := filepath.Glob("testdata/metadata/*.json")
	if err != nil || len(goldens) != 3 {
		t.Fatalf("goldens %q, %v", goldens, err)
	}
	for _, golden := range goldens {
		t.Run(filepath.Base(golden), func(t *testing.T) {
			data, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			var kohya struct {
				Args     []string
				Metadata map[string]string
			}
			if err := json.Unmarshal(data, &kohya); err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			args := slices.Concat(kohya.Args, []string{"-defaults", "sd-scripts", "-save_precision", "fp16", "-max_train_steps", "1", "-output_dir", dir, "-threads", "2"})
			if err := run(t.Context(), args, io.Discard); err != nil {
				t.Fatal(err)
			}
			f, err := weights.OpenFile(filepath.Join(dir, kohya.Metadata["ss_output_name"]+".safetensors"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			delete(kohya.Metadata, "ss_sd_model_name") // another model
			for _, key := range slices.Sorted(maps.Keys(kohya.Metadata)) {
				have, ok := f.Metadata()[key]
				if want := kohya.Metadata[key]; !ok || !sameMetadata(have, want) {
					t.Errorf("%s is %s, %v, want %s", key, have, ok, want)
				}
			}
			for key := range f.Metadata() {
				if _, ok := kohya.Metadata[key]; !ok && key[:3] == "ss_" && !slices.Contains(ours, key) {
					t.Errorf("%s is not written by sd-scripts", key)
				}
			}
		})
	}
}

// ours are keys of sd-scripts' files that differ from training to training or are written when a file is saved.
var ours = []string{
	"ss_session_id", "ss_training_started_at", "ss_training_finished_at", "ss_sd_scripts_commit_hash", "ss_steps", "ss_epoch", "ss_sd_model_name",
	"ss_sd_model_hash", "ss_new_sd_model_hash",
}

// sameMetadata compares two values.
func sameMetadata(a, b string) bool {
	x, err1 := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	if err1 == nil && err2 == nil {
		return x == y
	}
	var v, w any
	if json.Unmarshal([]byte(a), &v) == nil && json.Unmarshal([]byte(b), &w) == nil {
		return reflect.DeepEqual(v, w)
	}
	return a == b
}
