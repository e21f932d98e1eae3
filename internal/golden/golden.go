// Package golden runs networks against the outputs of independent implementations, for tests.
//
// A kit is a folder with a model and goldens/*.safetensors: inputs and outputs in float32, images as
// [N,C,H,W], recorded with diffusers and transformers. [Kits] finds those in testdata, and those that
// the environment variable ATELIER_GOLDENS lists (separated like PATH; relative ones are seen from the module's root):
// any other model of the same layout.
//
// What counts is the worst relative error of a tensor, max|got-want| / max|want|, which must not exceed
// [Tolerance].
package golden

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/tinyportrait"
	"github.com/atelier-go/atelier/weights"
)

// Variable names the environment variable that lists more kits.
const Variable = "ATELIER_GOLDENS"

// Kit is a model with recorded inputs and outputs.
type Kit struct {
	Name  string
	Model fs.FS // a diffusers folder
	dir   string
}

// Kits lists every kit there is to test. A folder that is listed and has no model or no goldens fails the test.
func Kits(t testing.TB) []Kit {
	t.Helper()
	testdata := filepath.Join(Root(t), "testdata")
	entries, err := os.ReadDir(testdata)
	if err != nil {
		t.Fatalf("golden: %v", err)
	}
	var kits []Kit
	for _, e := range entries {
		dir := filepath.Join(testdata, e.Name())
		if files := goldens(dir); len(files) > 0 {
			kits = append(kits, open(t, dir))
		}
	}
	if len(kits) == 0 {
		t.Fatalf("golden: %s: no folder with goldens/*.safetensors", testdata)
	}
	for _, dir := range filepath.SplitList(os.Getenv(Variable)) {
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(Root(t), dir) // each package's tests have a working directory of their own
		}
		if len(goldens(dir)) == 0 {
			t.Fatalf("golden: %s lists %q, which has no goldens/*.safetensors", Variable, dir)
		}
		kits = append(kits, open(t, dir))
	}
	return kits
}

// open finds the model of the kit in dir.
func open(t testing.TB, dir string) Kit {
	t.Helper()
	k := Kit{Name: filepath.Base(dir), dir: dir}
	model := filepath.Join(dir, "model")
	if entries, err := os.ReadDir(model); err == nil && len(entries) > 0 {
		k.Model = os.DirFS(model)
		return k
	}
	if dir == filepath.Join(Root(t), "testdata", "tiny-portrait") {
		k.Model = tinyportrait.FS() // the embedded model is not committed twice
		return k
	}
	t.Fatalf("golden: %s has goldens and no model", dir)
	return k
}

// Open opens the kit's checkpoint until the end of the test.
func (k Kit) Open(t testing.TB) *weights.Checkpoint {
	t.Helper()
	c, err := weights.OpenFS(k.Model, k.Name, weights.Options{})
	if err != nil {
		t.Fatalf("golden: %s: %v", k.dir, err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("golden: %s: %v", k.dir, err)
		}
	})
	return c
}

// Names lists the kit's goldens of which the name begins with prefix, in alphabetical order.
func (k Kit) Names(prefix string) []string {
	var names []string
	for _, file := range goldens(k.dir) {
		if name := strings.TrimSuffix(filepath.Base(file), ".safetensors"); strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names
}

func (k Kit) file(name string) string { return filepath.Join(k.dir, "goldens", name+".safetensors") }

// goldens lists the golden files of a kit's folder, sorted.
func goldens(dir string) []string {
	entries, _ := os.ReadDir(filepath.Join(dir, "goldens")) // what cannot be read has no goldens
	var files []string
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".safetensors" {
			files = append(files, filepath.Join(dir, "goldens", e.Name()))
		}
	}
	return files
}

// Root is the folder of the module.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("golden: %v", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("golden: no go.mod above the working directory")
		}
		dir = parent
	}
}
