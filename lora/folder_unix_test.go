//go:build unix

package lora_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/internal/loratest"
	"github.com/atelier-go/atelier/weights"
)

// TestFolderPipes looks through a folder with pipes to which nobody writes, and opens what lies beside one.
func TestFolderPipes(t *testing.T) {
	dir := t.TempDir()
	want := put(t, dir, "a.safetensors", "person")
	for _, name := range []string{"b.safetensors", "c.pt", "adapter_config.json"} {
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o666); err != nil {
			t.Skip(err)
		}
	}
	f, err := lora.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if path, err := f.Find("person"); err != nil || path != want {
		t.Errorf("found %q, %v", path, err)
	}
	targets := loratest.TinyTargets(t)
	m := loratest.RandomModule(loratest.Rand(), loratest.Standard(targets)[0], 2)
	peft := filepath.Join(dir, "adapter_model.safetensors")
	loratest.WriteTo(t, peft, []weights.Tensor{
		loratest.Tensor("base_model.model."+m.Name+".lora_A.weight", loratest.LowRank(m).Down), loratest.Tensor("base_model.model."+m.Name+".lora_B.weight", loratest.LowRank(m).Up),
	}, nil)
	for _, path := range []string{filepath.Join(dir, "b.safetensors"), peft} {
		if _, err := lora.Open(path, targets); !errors.Is(err, openfile.ErrNotRegular) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestFolderUnreadable has a folder below that nobody may look into, and a link that leads round in a circle.
func TestFolderUnreadable(t *testing.T) {
	dir := t.TempDir()
	want := put(t, dir, "a.safetensors", "person")
	if err := os.Symlink("loop.safetensors", filepath.Join(dir, "loop.safetensors")); err != nil {
		t.Fatal(err)
	}
	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(closed, 0o777) })
	f, err := lora.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "person"} {
		if path, err := f.Find(name); err != nil || path != want {
			t.Errorf("%q finds %q, %v", name, path, err)
		}
	}
	_, err = f.Find("b")
	unseen := map[string]error{"loop.safetensors": syscall.ELOOP}
	if os.Geteuid() != 0 { // whom nothing is closed to
		unseen["closed"] = fs.ErrPermission
	}
	for name, is := range unseen {
		if _, ok := errors.AsType[*lora.NotFoundError](err); !ok || !errors.Is(err, is) {
			t.Errorf("the error is not about %s: %v", name, err)
		}
	}
	if !strings.Contains(err.Error(), "not everything could be looked at") {
		t.Errorf("the error is %v", err)
	}
}
