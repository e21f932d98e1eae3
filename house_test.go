// The tests here hold the house to its plan: docs/architecture.md.
package atelier_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/atelier-go/atelier/"

// rule says what a package may import, and why.
type rule struct {
	dir     string
	allowed string // packages of this module
	outside string // modules, beyond the standard library
	reason  string
}

// rules say what each package may import of this module and what from outside; "x/..." stands for x and all below it. The first
// rule that fits counts, and a package without one fails: whoever adds a room says what it leans on.
var rules = []rule{
	{"compute/...", "compute/... internal/f16", "", "the vocabulary knows no device, no network and no file; its reference device and suite only the vocabulary"},
	{"sampler", "invalid internal/python", "gonum.org/v1/gonum", "samplers are numbers: usable without any of the rest; quantiles are gonum's"},
	{"nn", "compute", "", "layers record ops and hold no weights"},
	{"unet", "compute nn internal/configjson", "", "networks know no device and no file"},
	{"vae", "compute nn internal/configjson", "", "networks know no device and no file"},
	{"esrgan", "compute nn weights internal/picture invalid", "", "upscalers are networks with files of their own, beside checkpoints"},
	{"clip/...", "clip/... compute nn internal/configjson", "golang.org/x/text", "networks know no device and no file; the tokenizer needs Unicode tables"},
	{"weights/pickle", "", "", "files of strangers: nothing that could run is within reach"},
	{"weights/...", "weights/... compute sampler internal/f16 internal/atomicfile internal/filelock internal/openfile internal/python invalid", "golang.org/x/sys github.com/nlpodyssey/safetensors", "files are bytes with names; what they mean is the networks' business"},
	{"cpu/...", "cpu/... compute internal/f16 invalid", "golang.org/x/sys", "a device runs any program and knows no network"},
	{"cuda", "cuda/internal/cublas cuda/internal/cudnn cuda/internal/driver cuda/internal/kernel cuda/internal/library compute internal/atomicfile internal/f16 internal/openfile invalid", "", "a device runs any program and knows no network"},
	{"cuda/internal/library", "", "github.com/ebitengine/purego golang.org/x/sys", "leaf: the only user of purego, but for tests that stand in for a library"},
	{"cuda/internal/driver", "cuda/internal/library", "github.com/ebitengine/purego", "bindings know no op and no kernel"},
	{"cuda/internal/cublas", "cuda/internal/driver cuda/internal/library", "github.com/ebitengine/purego", "bindings know no op and no kernel"},
	{"cuda/internal/cudnn", "cuda/internal/driver cuda/internal/library", "github.com/ebitengine/purego", "bindings know no op and no kernel"},
	{"cuda/internal/ptx", "", "", "leaf: text"},
	{"cuda/internal/simgpu", "internal/f16", "", "it reads the text that a driver would get, and shares nothing with what wrote it: for tests"},
	{"cuda/internal/simdriver", "cuda/internal/library cuda/internal/simgpu", "github.com/ebitengine/purego golang.org/x/sys", "it is called as the driver is, and knows nothing of who calls: for tests"},
	{"cuda/internal/simlibrary", "cuda/internal/library cuda/internal/simdriver cuda/internal/simgpu internal/f16", "github.com/ebitengine/purego", "it is called as NVIDIA's libraries are, and knows nothing of who calls: for tests"},
	{"cuda/internal/cardtest", "cuda/internal/driver cuda/internal/simdriver internal/f16", "", "it has a simulated card in use: for tests"},
	{"cuda/internal/realcard", "cuda/internal/driver cuda/internal/library cuda/internal/simgpu", "", "it holds the simulation to a card: for tests"},
	{"cuda/internal/kernel", "cuda/internal/ptx compute", "", "kernels are text: they know the vocabulary and no driver"},
	{"device", "compute cpu cuda invalid", "", "the only package that knows all devices"},
	{"lora", "clip unet sampler weights weights/pickle compute internal/atomicfile internal/openfile internal/python internal/rng internal/svd invalid", "golang.org/x/sys", "files and their algebra: never training, never drawing"},
	{"lora/internal/loratest", "lora clip unet weights compute internal/golden", "", "what the tests of adapters and of training share"},
	{"lora/dataset", "internal/atomicfile internal/openfile internal/picture internal/rng invalid", "golang.org/x/text", "pictures and captions only; names of files need Unicode tables"},
	{"lora/train", "sd lora lora/dataset clip unet vae nn sampler weights compute internal/atomicfile internal/engine internal/filelock internal/openfile internal/optim internal/python internal/rng internal/tfevents internal/tomltree invalid", "", "training stands above the files it makes and what draws with them"},
	{"lora/kohya", "lora lora/dataset lora/train sampler compute internal/atomicfile internal/openfile internal/python internal/tomltree invalid", "", "sd-scripts' names for what lora/train takes"},
	{"sd", "sd/infotext sd/prompt esrgan lora clip unet vae sampler weights compute internal/atomicfile internal/canvas internal/engine internal/picture internal/rng invalid", "", "the pipeline is handed its device"},
	{"sd/prompt", "", "", "the language is usable without a model"},
	{"sd/infotext", "sd/prompt", "", "any tool can read pictures with it"},
	{"sd/filename", "sampler internal/python invalid", "", "names of files are text, and what is in a folder"},
	{"sd/grid", "sd sd/infotext sd/prompt sampler internal/python invalid", "golang.org/x/image", "axes, and what their cells are drawn with: for programs and servers alike"},
	{"sd/dense", "", "gorgonia.org/tensor", "the only user of Gorgonia: programs that do not want its arrays do not carry it"},
	{"face", "internal/picture", "github.com/esimov/pigo golang.org/x/sync", "leaf: the only user of pigo"},
	{"portrait", "face lora lora/dataset lora/train sd sd/infotext clip unet vae sampler weights compute internal/atomicfile internal/openfile internal/engine internal/picture internal/rng invalid", "golang.org/x/image", "the way from photos to portraits stands above what trains and what draws; what computes is handed in"},
	{"studio/jobs", "internal/filelock invalid", "github.com/nats-io/nats-server/v2 github.com/nats-io/nats.go", "a queue of work knows none of it; the only user of NATS"},
	{"studio/library", "lora sd sd/... weights internal/atomicfile internal/filelock internal/openfile internal/picture invalid", "", "what there is on disk: no device and no queue"},
	{"studio/work", "compute esrgan face lora lora/kohya lora/train portrait sd sd/filename sd/grid sd/infotext sd/prompt studio/jobs studio/library weights internal/atomicfile internal/canvas internal/openfile internal/picture invalid", "", "what jobs ask for, and who does it on a device that is handed in: no page and no protocol"},
	{"studio", "clip face lora/dataset lora/kohya lora/train portrait sampler sd sd/filename sd/grid sd/infotext sd/prompt studio/api studio/sdapi studio/jobs studio/library studio/work internal/atomicfile internal/openfile internal/picture invalid", "github.com/chromedp/chromedp github.com/chromedp/cdproto", "pages over a queue and a library; what computes is handed in"},
	{"studio/api", "studio/jobs studio/library studio/work sampler sd invalid", "", "jobs as resources: it knows no page"},
	{"studio/sdapi", "sampler sd sd/grid sd/infotext sd/prompt studio/jobs studio/library studio/work internal/canvas internal/openfile internal/picture invalid", "", "the web UI's protocol over the queue: it knows no page and no device"},
	{"tinyportrait", "", "", "data"},
	{"tinyportrait/drawn", "face internal/picture", "", "eyes for the tiny model's people: for examples and tests"},
	{"invalid", "", "", "a leaf that every package may import"},
	{"internal/atomicfile", "internal/openfile internal/filelock", "github.com/rogpeppe/go-internal", "the only user of robustio"},
	{"internal/configjson", "internal/python", "", "leaf"},
	{"internal/engine", "clip unet vae nn sampler weights compute", "", "networks on files: for what draws, trains and measures"},
	{"internal/f16", "", "golang.org/x/sys", "leaf"},
	{"internal/golden", "compute compute/ref cpu weights tinyportrait", "", "goldens, and the devices they are compared on: for tests"},
	{"internal/filelock", "", "github.com/gofrs/flock", "leaf: the only user of flock"},
	{"internal/openfile", "", "", "leaf"},
	{"internal/canvas", "internal/picture", "", "leaf: bytes of pictures, as the web UI makes them"},
	{"internal/picture", "internal/openfile", "golang.org/x/image golang.org/x/sync", "leaf: the only user of codecs"},
	{"internal/optim", "internal/python invalid", "", "arithmetic, and its constants as people write them for sd-scripts"},
	{"internal/python", "", "", "leaf"},
	{"internal/rng", "", "gonum.org/v1/gonum", "leaf"},
	{"internal/svd", "", "gonum.org/v1/gonum", "leaf: the only user of gonum's linear algebra"},
	{"internal/tfevents", "", "", "leaf"},
	{"internal/webui", "", "", "records of the web UI: for tests"},
	{"internal/tomltree", "", "github.com/BurntSushi/toml", "leaf"},
	{"examples/internal/cli", "internal/openfile internal/picture compute device face sampler sd sd/filename sd/infotext sd/prompt examples/internal/terminal tinyportrait tinyportrait/drawn weights weights/hub internal/atomicfile invalid", "github.com/KimMachineGun/automemlimit", "what programs have in common: flags, the run under a bar, and what they tell before the work"},
	{"examples/bench", "compute cpu device examples/internal/... internal/engine internal/rng invalid lora lora/train unet weights", "golang.org/x/sys", "it times the programs that the packages run, which no public name gives"},
	{"examples/worker", "examples/... studio/...", "github.com/nats-io/nats-server/v2", "a program like any other; its tests run a server of the queue"},
	{"examples/...", "clip compute cpu device esrgan examples/... face lora/... portrait sampler sd/... studio/... tinyportrait/... unet vae weights/... internal/rng invalid", "golang.org/x/image golang.org/x/sys golang.org/x/term", "programs are users: what they import of this module, others can"},
}

// testOnly are packages that tests may import besides what the code may.
const testOnly = "compute/... sd cuda/internal/driver cuda/internal/ptx cuda/internal/cardtest cuda/internal/realcard cuda/internal/simdriver cuda/internal/simgpu cuda/internal/simlibrary invalid cpu weights/... internal/f16 internal/golden internal/rng internal/webui lora lora/dataset lora/train lora/internal/loratest tinyportrait/... sampler clip unet vae nn"

// simulation are the packages that stand in for a card.
const simulation = "cuda/internal/cardtest cuda/internal/realcard cuda/internal/simdriver cuda/internal/simgpu cuda/internal/simlibrary"

func TestImports(t *testing.T) {
	each(t, func(t *testing.T, file string, f *ast.File) {
		dir := path.Dir(file)
		if dir == "." {
			return
		}
		at := slices.IndexFunc(rules, func(r rule) bool { return fits(dir, r.dir) })
		if at < 0 {
			t.Errorf("%s: no rule says what package %s may import; add one", file, dir)
			return
		}
		r, test := rules[at], strings.HasSuffix(file, "_test.go")
		allowed := r.allowed + " " + dir
		if test {
			allowed += " " + testOnly
		}
		for _, spec := range f.Imports {
			name := strings.Trim(spec.Path.Value, `"`)
			inside, ok := strings.CutPrefix(name, module)
			switch {
			case ok && !fitsAny(inside, allowed):
				t.Errorf("%s imports %s, but %s may import only [%s] of this module: %s", file, inside, r.dir, r.allowed, r.reason)
			case !ok && strings.Contains(strings.Split(name, "/")[0], ".") && !belowAny(name, r.outside):
				t.Errorf("%s imports %s, but %s may import only [%s] from outside: %s", file, name, r.dir, r.outside, r.reason)
			case inside == "tinyportrait" && !test && !fitsAny(dir, "examples/... internal/golden"):
				t.Errorf("%s imports tinyportrait: a user's binary would carry the tiny model", file)
			case fitsAny(inside, simulation) && !test && !fitsAny(dir, simulation):
				t.Errorf("%s imports %s: a user's binary would carry the simulation", file, inside)
			}
		}
	})
}

// TestArrows holds the picture of who imports whom in docs/architecture.md to the code without its tests.
func TestArrows(t *testing.T) {
	imports := make(map[string]map[string]bool)
	each(t, func(_ *testing.T, file string, f *ast.File) {
		dir := path.Dir(file)
		if strings.HasSuffix(file, "_test.go") {
			return
		}
		for _, spec := range f.Imports {
			if inside, ok := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), module); ok && !strings.Contains(inside, "/internal/") {
				if imports[dir] == nil {
					imports[dir] = make(map[string]bool)
				}
				imports[dir][inside] = true
			}
		}
	})
	_, text, _ := strings.Cut(read(t, "docs/architecture.md"), "\n## Who imports whom")
	text, _, _ = strings.Cut(text, "\n## ")
	arrows := regexp.MustCompile(`(?m)^(\S.*?) +──▶ (.*)$`).FindAllStringSubmatch(text, -1)
	if len(arrows) < 12 {
		t.Fatalf("only %d arrows", len(arrows))
	}
	for _, arrow := range arrows[1:] { // the first is of the programs
		have := make(map[string]bool)
		for dir := range strings.SplitSeq(arrow[1], ", ") {
			maps.Copy(have, imports[dir])
		}
		if want := expand(arrow[2]); !slices.Equal(slices.Sorted(maps.Keys(have)), want) {
			t.Errorf("docs/architecture.md: %s imports %q, the arrow goes to %q", arrow[1], slices.Sorted(maps.Keys(have)), want)
		}
	}
}

// expand lists what "a, b/{c,d}" stands for, sorted.
func expand(text string) (names []string) {
	for _, m := range regexp.MustCompile(`([a-z0-9/]+)(?:\{([^}]*)\})?`).FindAllStringSubmatch(text, -1) {
		for end := range strings.SplitSeq(m[2], ",") {
			names = append(names, m[1]+end)
		}
	}
	slices.Sort(names)
	return names
}

// dialling are the packages that may reach for other machines: for models, and for the server of the queue, whose address somebody gave.
const dialling = "weights/hub studio/jobs"

// TestDialling finds code that could call out, wherever it should not: programs tell nobody what is drawn with them.
func TestDialling(t *testing.T) {
	calls := regexp.MustCompile(`^(net\.(Dial\w*|Dialer|Lookup\w*|Resolver|DefaultResolver)|http\.(Get|Post|PostForm|Head|Client|DefaultClient|Transport|DefaultTransport|NewRequest\w*)|nats\.Connect|tls\.Dial\w*|rpc\.Dial\w*|smtp\.\w+)$`)
	found := make(map[string]bool)
	each(t, func(t *testing.T, file string, f *ast.File) {
		if strings.HasSuffix(file, "_test.go") {
			return
		}
		ast.Inspect(f, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if of, ok := s.X.(*ast.Ident); ok && calls.MatchString(of.Name+"."+s.Sel.Name) {
				found[path.Dir(file)] = true
				if !fitsAny(path.Dir(file), dialling) {
					t.Errorf("%s uses %s.%s: only [%s] may call out", file, of.Name, s.Sel.Name, dialling)
				}
			}
			return true
		})
	})
	if len(found) != 2 {
		t.Errorf("calls are found in %v alone", found)
	}
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

// TestEmbedding holds the examples of programs that embed Atelier to a page.
func TestEmbedding(t *testing.T) {
	programs, err := filepath.Glob("examples/embed/*/main.go")
	if err != nil || len(programs) < 3 {
		t.Fatalf("programs %q, %v", programs, err)
	}
	for _, path := range programs {
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(source), "\n"); n >= 40 {
			t.Errorf("%s has %d lines, want under 40", path, n)
		}
	}
}

// TestWhereToFind follows the signposts of docs/architecture.md: the files are there and declare what is said to be in them.
func TestWhereToFind(t *testing.T) {
	_, text, _ := strings.Cut(read(t, "docs/architecture.md"), "\n## Where to find\n")
	text, _, _ = strings.Cut(text, "\n## ")
	signs := regexp.MustCompile("`([a-z0-9/_]+\\.go)`(?: `([A-Za-z.]+)`)?").FindAllStringSubmatch(text, -1)
	if len(signs) < 20 {
		t.Fatalf("only %d files are named", len(signs))
	}
	for _, sign := range signs {
		f, err := parser.ParseFile(token.NewFileSet(), sign[1], nil, parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
		} else if sign[2] != "" && !slices.Contains(declared(f), sign[2]) {
			t.Errorf("%s declares no %s", sign[1], sign[2])
		}
	}
}

// declared are the names at a file's top level; methods follow their receiver's type and a dot.
func declared(f *ast.File) (names []string) {
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			if d.Recv != nil {
				receiver := d.Recv.List[0].Type
				if star, ok := receiver.(*ast.StarExpr); ok {
					receiver = star.X
				}
				if typ, ok := receiver.(*ast.Ident); ok {
					name = typ.Name + "." + name
				}
			}
			names = append(names, name)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					names = append(names, spec.Name.Name)
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						names = append(names, name.Name)
					}
				}
			}
		}
	}
	return names
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

// fits reports whether a package is one that a pattern names.
func fits(name, pattern string) bool {
	if dir, ok := strings.CutSuffix(pattern, "/..."); ok {
		return below(name, dir)
	}
	return name == pattern
}

func fitsAny(name, patterns string) bool {
	for pattern := range strings.FieldsSeq(patterns) {
		if fits(name, pattern) {
			return true
		}
	}
	return false
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
