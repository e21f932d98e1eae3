// The tests here hold the house to its plan: docs/architecture.md.
package atelier_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/atelier-go/atelier/"

// rules say what a package, and those below it, may import of this module and what from outside.
var rules = []struct {
	dir     string
	allowed string // packages of this module, with what is below them
	outside string // modules, beyond the standard library
	reason  string
}{
	{"compute", "compute internal/f16", "", "the vocabulary knows no device, no network and no file; its reference device and suite only the vocabulary"},
	{"sampler", "invalid", "", "samplers are numbers: usable without any of the rest"},
	{"nn", "compute", "", "layers record ops and hold no weights"},
	{"unet", "compute nn internal/configjson", "", "networks know no device and no file"},
	{"vae", "compute nn internal/configjson", "", "networks know no device and no file"},
	{"clip", "compute nn internal/configjson", "golang.org/x/text", "networks know no device and no file; the tokenizer needs Unicode tables"},
	{"weights", "compute sampler weights invalid internal/f16 internal/atomicfile internal/openfile internal/filelock", "golang.org/x/sys github.com/nlpodyssey/safetensors", "files are bytes with names; what they mean is the networks' business"},
	{"cpu", "compute cpu invalid internal/f16", "golang.org/x/sys", "a device runs any program and knows no network"},
	{"lora", "lora clip unet vae nn sampler weights compute internal/f16 internal/atomicfile internal/rng internal/optim internal/svd internal/tfevents internal/tomltree internal/picture internal/openfile invalid", "golang.org/x/text", "training and adapters know no pipeline"},
	{"lora/dataset", "internal/rng internal/atomicfile internal/tomltree internal/picture internal/openfile invalid", "golang.org/x/text", "pictures and captions only; names of files need Unicode tables"},
	{"device", "compute cpu", "", "the only package that knows all devices"},
	{"sd", "lora clip unet vae sampler weights compute internal/rng internal/atomicfile internal/dense", "gorgonia.org/tensor", "the pipeline is handed its device"},
	{"tinyportrait", "", "", "data"},
	{"internal/f16", "", "", "leaf"},
	{"internal/atomicfile", "internal/openfile", "github.com/rogpeppe/go-internal", "leaf: the only user of robustio"},
	{"internal/openfile", "", "", "leaf"},
	{"internal/filelock", "", "github.com/gofrs/flock", "leaf: the only user of flock"},
	{"internal/picture", "internal/openfile", "golang.org/x/image golang.org/x/sync", "leaf: the only user of codecs"},
	{"internal/rng", "", "gonum.org/v1/gonum", "leaf"},
	{"internal/optim", "", "", "leaf"},
	{"internal/svd", "", "gonum.org/v1/gonum", "leaf: the only user of gonum's linear algebra"},
	{"internal/tfevents", "", "", "leaf"},
	{"internal/tomltree", "", "github.com/BurntSushi/toml", "leaf"},
	{"internal/dense", "", "gorgonia.org/tensor", "the only conversions to Gorgonia's arrays"},
}

// testOnly are packages that tests may import besides what the code may.
const testOnly = "compute cpu invalid weights weights/hub internal/golden tinyportrait sampler clip unet vae nn"

func TestImports(t *testing.T) {
	each(t, func(t *testing.T, file string, f *ast.File) {
		dir := path.Dir(file)
		for _, r := range rules {
			if !below(dir, r.dir) {
				continue
			}
			allowed := r.allowed
			if strings.HasSuffix(file, "_test.go") {
				allowed += " " + testOnly + " " + r.dir
			}
			for _, spec := range f.Imports {
				name := strings.Trim(spec.Path.Value, `"`)
				inside, ok := strings.CutPrefix(name, module)
				switch {
				case ok && !belowAny(inside, allowed+" "+dir):
					t.Errorf("%s imports %s, but %s may import only [%s] of this module: %s", file, inside, r.dir, r.allowed, r.reason)
				case !ok && strings.Contains(strings.Split(name, "/")[0], ".") && !belowAny(name, r.outside):
					t.Errorf("%s imports %s, but %s may import only [%s] from outside: %s", file, name, r.dir, r.outside, r.reason)
				}
			}
		}
		if dir != "tinyportrait" && !below(dir, "examples") && !strings.HasSuffix(file, "_test.go") && !below(dir, "internal/golden") {
			for _, spec := range f.Imports {
				if strings.Trim(spec.Path.Value, `"`) == module+"tinyportrait" {
					t.Errorf("%s imports tinyportrait: a user's binary would carry the tiny model", file)
				}
			}
		}
	})
}

func TestPackageComments(t *testing.T) {
	comments := make(map[string]int)
	each(t, func(t *testing.T, file string, f *ast.File) {
		if strings.HasSuffix(file, "_test.go") {
			return
		}
		dir := path.Dir(file)
		if _, ok := comments[dir]; !ok {
			comments[dir] = 0
		}
		if f.Doc != nil {
			comments[dir]++
		}
	})
	for dir, n := range comments {
		if n != 1 {
			t.Errorf("package %s has %d package comments, want one", dir, n)
		}
	}
}

func TestGoMod(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mod), "replace ") {
		t.Error("go.mod has a replace directive, which users of the library would not get")
	}
}

// each parses every Go file of the module.
func each(t *testing.T, visit func(t *testing.T, file string, f *ast.File)) {
	t.Helper()
	files := 0
	err := fs.WalkDir(os.DirFS("."), ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && file != "." {
			if base := path.Base(file); strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" {
				return fs.SkipDir
			}
			if _, err := os.Stat(filepath.Join(file, "go.mod")); err == nil {
				return fs.SkipDir
			}
		}
		if path.Ext(file) != ".go" {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		files++
		visit(t, file, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 50 {
		t.Fatalf("only %d Go files found: the test does not see the module", files)
	}
}

func below(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }

func belowAny(name, dirs string) bool {
	for dir := range strings.FieldsSeq(dirs) {
		if below(name, dir) {
			return true
		}
	}
	return false
}
