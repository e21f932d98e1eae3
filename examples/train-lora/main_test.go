package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/weights"
)

const photos = "../../tinyportrait/photos"

func TestRun(t *testing.T) {
	dir := t.TempDir()
	args := []string{"-train_data_dir", photos, "-output_dir", dir, "-output_name", "person", "-max_train_steps", "2", "-network_dim", "4"}
	if err := run(t.Context(), args, io.Discard); err != nil {
		t.Fatal(err)
	}
	f, err := weights.OpenFile(filepath.Join(dir, "person.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for key, want := range map[string]string{"ss_network_dim": "4", "ss_output_name": "person"} {
		if got := f.Metadata()[key]; got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	for _, prefix := range []string{"lora_te_", "lora_unet_"} {
		found := false
		for _, name := range f.Names() {
			found = found || strings.HasPrefix(name, prefix)
		}
		if !found {
			t.Errorf("no tensor begins with %s", prefix)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name, say string
		args      []string
	}{
		{"no data", "-train_data_dir", nil},
		{"an argument", "unexpected", []string{"training"}},
		{"no such folder", "nowhere", []string{"-train_data_dir", "nowhere"}},
		{"rate", "unet_lr", []string{"-train_data_dir", photos, "-unet_lr", "NaN"}},
		{"precision", "-save_precision", []string{"-train_data_dir", photos, "-save_precision", "int8"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			err := run(t.Context(), append([]string{"-output_dir", dir}, c.args...), io.Discard)
			if err == nil || !strings.Contains(strings.ToLower(err.Error()), c.say) {
				t.Errorf("the error %v does not say %q", err, c.say)
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("%s was left behind", left[0].Name())
			}
		})
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	if err := run(ctx, []string{"-train_data_dir", photos, "-output_dir", dir}, io.Discard); err == nil {
		t.Error("no error")
	}
}
