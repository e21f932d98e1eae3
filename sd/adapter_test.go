package sd

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd/prompt"
)

// loraFile is a kit's adapter in the named form: kohya, peft or locon.
func loraFile(t testing.TB, kit, form string) string {
	return filepath.Join(golden.Root(t), "testdata", kit, "goldens", "lora_"+form+".safetensors")
}

// loraFolder is a folder with two adapters of the smallest model: "person", also known by the name it was
// saved under, and "other".
func loraFolder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, form := range map[string]string{"person": "kohya", "other": "peft"} {
		copyFile(t, filepath.Join(dir, name+".safetensors"), loraFile(t, "tiny-random", form))
	}
	return dir
}

func copyFile(t testing.TB, to, from string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// openWith opens the smallest model on the fast device, with tags looking for adapters in dirs.
func openWith(t testing.TB, dirs ...string) *Pipeline {
	t.Helper()
	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return openTinyWith(t, dev, Options{LoRADirs: dirs})
}

func both(strength float64) lora.Strength {
	return lora.Strength{TextEncoder: strength, UNet: strength}
}

func TestTags(t *testing.T) {
	named := func(name string, s lora.Strength) []lora.Tag { return []lora.Tag{{Name: name, Strength: s}} }
	for _, c := range []struct {
		prompt, left string
		tags         []lora.Tag
	}{
		{"a <lora:x:0.8> b", "a  b", named("x", both(0.8))},
		{"a<lora:x:1>b", "ab", named("x", both(1))},
		{"<lora:x>", "", named("x", both(1))},
		{"<lora:x:1:0.5>", "", named("x", lora.Strength{TextEncoder: 1, UNet: 0.5})},
		{"<lora:x:te=0.5:unet=1>", "", named("x", lora.Strength{TextEncoder: 0.5, UNet: 1})},
		{"<lora:x:1:dyn=8>", "", named("x", lora.Strength{TextEncoder: 1, UNet: 1, Rank: 8})},
		{"<lora:a b:1>", "", named("a b", both(1))},
		{"<lyco:x:0.5>", "", named("x", both(0.5))},
		{"<LORA:x:1>", "", nil},
		{"<foo:bar>", "", nil},
		{"<été_2:bar>", "", nil},
		{"< lora:x:1>", "< lora:x:1>", nil},
		{"<lora:x:1", "<lora:x:1", nil},
		{"<lora:>", "<lora:>", nil},
		{"<a-b:c>", "<a-b:c>", nil},
		{"<lora:a>b>", "b>", named("a", both(1))},
		{"<lora:a\nb:1>", "", named("a\nb", both(1))},
		{"<lora:a:0.1>, <lora:b:0.2>", ", ", append(named("a", both(0.1)), named("b", both(0.2))...)},
	} {
		t.Run(c.prompt, func(t *testing.T) {
			tags, err := parseTags(c.prompt)
			if err != nil {
				t.Fatal(err)
			}
			if left, _ := prompt.Cut(c.prompt); left != c.left || !slices.Equal(tags, c.tags) {
				t.Errorf("have %q, %+v\nwant %q, %+v", left, tags, c.left, c.tags)
			}
		})
	}
}

// TestTagsAreNoText tokenizes prompts with and without a tag.
func TestTagsAreNoText(t *testing.T) {
	p := openWith(t)
	tokens := func(r Request) [][]int32 {
		t.Helper()
		r.Guidance = new(7.0)
		r, err := r.resolve(64)
		if err != nil {
			t.Fatal(err)
		}
		got := &conditioning{known: new(embeddings)}
		if err := p.readPrompts(got, &pass{request: r, plan: new(sampler.Plan)}); err != nil {
			t.Fatal(err)
		}
		return sequences(p.networks.Tokenizer, append(got.negative.toEncode(), got.positive[0].toEncode()...))
	}
	if got, want := tokens(Request{Prompt: "a man <lora:x:1>, hat"}), tokens(Request{Prompt: "a man , hat"}); !reflect.DeepEqual(got, want) {
		t.Errorf("with a tag the prompt is %v, want %v", got, want)
	}
	if got, not := tokens(Request{NegativePrompt: "a man <lora:x:1>"}), tokens(Request{NegativePrompt: "a man"}); reflect.DeepEqual(got, not) {
		t.Error("the negative prompt has lost its tag, which is text there")
	}
}

// TestAdapters makes pictures with one pipeline that switches between adapters. Each is compared with the plain picture
// and, if named, with another one.
func TestAdapters(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: pictures one after the other")
	}
	dir := loraFolder(t)
	p := openWith(t, dir)
	file := func(name string, s lora.Strength) Adapter {
		return Adapter{Path: filepath.Join(dir, name+".safetensors"), Strength: &s}
	}
	half := func(te, unet float64) lora.Strength { return lora.Strength{TextEncoder: te, UNet: unet} }
	plain := generate(t, p, small(nil)).Pictures[0].Image
	made := map[string]*image.NRGBA{"plain": plain}
	for _, c := range []struct {
		name   string
		tags   string
		files  []Adapter
		equals string // a picture made before; "" is none of them
	}{
		{"tag", " <lora:person:1>", nil, ""},
		{"file", "", []Adapter{file("person", both(1))}, "tag"},
		{"file, default strength", "", []Adapter{{Path: filepath.Join(dir, "person.safetensors")}}, "tag"},
		{"tag, default strength", " <lora:person>", nil, "tag"},
		{"alias", "<lora:personname_lora_v1:1>", nil, "tag"},
		{"plain again", "", nil, "plain"},
		{"strength 0", " <lora:person:0>", nil, "plain"},
		{"file with strength 0", "", []Adapter{file("person", both(0))}, "plain"},
		{"text encoder", " <lora:person:1:0>", nil, ""},
		{"file, text encoder", "", []Adapter{file("person", half(1, 0))}, "text encoder"},
		{"UNet", " <lora:person:0:1>", nil, ""},
		{"file, UNet", "", []Adapter{file("person", half(0, 1))}, "UNet"},
		{"half", " <lora:person:0.5>", nil, ""},
		{"negative", " <lora:person:-1>", nil, ""},
		{"one rank", " <lora:person:1:1:1>", nil, ""},
		{"two", " <lora:person:1> <lora:other:0.5>", nil, ""},
		{"tag and file", " <lora:person:1>", []Adapter{file("other", both(0.5))}, "two"},
		{"two files", "", []Adapter{file("person", both(1)), file("other", both(0.5))}, "two"},
		{"named twice", " <lora:person:0.9><lora:person:0.3>", nil, ""},
		{"file twice", "", []Adapter{file("person", both(0.3)), file("person", both(0.3))}, "named twice"},
		{"unknown kind", " <foo:person:1>", nil, "plain"},
		{"tag again", "<lyco:person:1> ", nil, "tag"},
		{"plain at last", "", nil, "plain"},
	} {
		request := small(func(r *Request) { r.Prompt, r.Adapters = r.Prompt+c.tags, c.files })
		got := generate(t, p, request).Pictures[0].Image
		if c.equals != "" {
			if d := difference(got, made[c.equals]); d != 0 {
				t.Errorf("%s: the picture differs from %s by %d/255", c.name, c.equals, d)
			}
			continue
		}
		for other, img := range made {
			if difference(got, img) == 0 {
				t.Errorf("%s: the picture is the same as %s", c.name, other)
			}
		}
		made[c.name] = got
	}
}

// TestAdapterErrors tries what cannot work; afterwards the plain picture is as before.
func TestAdapterErrors(t *testing.T) {
	dir := loraFolder(t)
	p := openWith(t, dir)
	plain := generate(t, p, small(nil)).Pictures[0].Image
	apply := func(path string, strength float64) []Adapter {
		return []Adapter{{Path: path, Strength: &lora.Strength{TextEncoder: strength, UNet: strength}}}
	}
	person := filepath.Join(dir, "person.safetensors")
	for _, c := range []struct {
		name  string
		tags  string
		files []Adapter
		says  []string
		is    func(error) bool
	}{
		{"unknown names", "<lora:nobody:1> <lora:person:1> <lora:Other> <lora:nobody>", nil,
			[]string{"Lora not found: nobody, Other", dir, "nobody.safetensors", `"other"`, "upper and lower case"}, is[*lora.NotFoundError]},
		{"strength that is no number", "<lora:person:much>", nil, []string{"<lora:person:much>", `"much"`, "0.8"}, nil},
		{"no name", "<lora::1>", nil, []string{"<lora::1>", "NAME"}, nil},
		{"hypernetwork", "<hypernet:x:1>", nil, []string{"<hypernet:x:1>", "not supported"}, nil},
		{"too many", strings.Repeat("<lora:person:1>", 65), nil, []string{"64"}, nil},
		{"too many, tags and files", strings.Repeat("<lora:person:1>", 64), apply(person, 1), []string{"64"}, nil},
		{"path and name", "", []Adapter{{Path: person, Name: "person"}}, []string{"Request.Adapters[0].Name", "Path"}, nil},
		{"unknown name", "", []Adapter{{Name: "nobody"}}, []string{"Lora not found: nobody"}, is[*lora.NotFoundError]},
		{"no path", "", []Adapter{{}}, []string{"Request.Adapters[0].Path", ".safetensors"}, nil},
		{"no such file", "", apply(filepath.Join(dir, "none.safetensors"), 1), []string{"none.safetensors"},
			func(err error) bool { return errors.Is(err, fs.ErrNotExist) }},
		{"a folder", "", apply(dir, 1), []string{dir}, nil},
		{"for another model", "", apply(loraFile(t, "tiny-portrait", "kohya"), 1), []string{"lora_kohya.safetensors"}, is[*lora.FamilyError]},
		{"checkpoint", "", apply(filepath.Join(golden.Root(t), "testdata", "tiny-random", "tiny-random-ldm.safetensors"), 1),
			[]string{"tiny-random-ldm.safetensors", "checkpoint"}, is[*lora.FamilyError]},
		{"strength NaN", "", apply(person, math.NaN()), []string{person, "NaN"}, nil},
		{"strength beyond all weights", "", apply(person, 1e300), []string{"beyond", "lower their strength"}, nil},
		{"two bad files", "", append(apply(filepath.Join(dir, "none.safetensors"), 1), apply(filepath.Join(dir, "neither.safetensors"), 1)...),
			[]string{"none.safetensors", "neither.safetensors"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := p.Generate(t.Context(), small(func(r *Request) { r.Prompt, r.Adapters = r.Prompt+c.tags, c.files }))
			if err == nil {
				t.Fatal("no error")
			}
			if c.is != nil && !c.is(err) {
				t.Errorf("the error is of another type: %v", err)
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("the error does not say %q: %v", s, err)
				}
			}
		})
	}
	if d := difference(generate(t, p, small(nil)).Pictures[0].Image, plain); d != 0 {
		t.Errorf("the plain picture differs by %d/255 from before", d)
	}

	for _, c := range []struct {
		name string
		dirs []string
		says string
	}{
		{"no folder", nil, "no folder to look for"},
		{"no such folder", []string{filepath.Join(dir, "loras")}, "loras"},
	} {
		p := openWith(t, c.dirs...)
		_, err := p.Generate(t.Context(), small(func(r *Request) { r.Prompt = "<lora:person>" }))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: the error is %v, want %q in it", c.name, err, c.says)
		}
		generate(t, p, small(nil)) // asks for no folder
	}
}

// is reports whether there is an E in an error.
func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// TestAdapterMemory switches between adapters, in turn and within a run, and looks at what the device holds afterwards.
func TestAdapterMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: draws picture after picture")
	}
	p := openWith(t, loraFolder(t))
	ask := func(tags string) Request { return small(func(r *Request) { r.Prompt += tags; r.Steps = 3 }) }
	request := ask("<lora:person:1>")
	want, err := p.Memory(request)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := p.Memory(ask("")); err != nil || plain != want {
		t.Errorf("%+v is announced with an adapter, without it %+v, %v", want, plain, err)
	}
	check := func(when string) {
		t.Helper()
		if got := p.cache.Usage(); got.Params != want.Params || got.Loaded != 3 {
			t.Errorf("%s: %d bytes are held in %d sets of parameters, want %d in 3", when, got.Params, got.Loaded, want.Params)
		}
	}
	pictures := map[string]*image.NRGBA{}
	for _, tags := range []string{"", "<lora:person:1>", "<lora:other:0.5>", "<lora:person:1><lora:other:1>", "<lora:person:0:1>", ""} {
		pictures[tags] = generate(t, p, ask(tags)).Pictures[0].Image
		check(fmt.Sprintf("after %q", tags))
	}

	for step, err := range p.Steps(t.Context(), request) {
		if err != nil {
			t.Fatal(err)
		}
		other := []string{"", "<lora:other:0.5>", ""}[step.Index] // while the run goes on
		if d := difference(generate(t, p, ask(other)).Pictures[0].Image, pictures[other]); d != 0 {
			t.Errorf("within a run, %q makes a difference of %d/255", other, d)
		}
		if step.Last() {
			result, err := step.Result(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if d := difference(result.Pictures[0].Image, pictures["<lora:person:1>"]); d != 0 {
				t.Errorf("a run differs by %d/255 when others go on within it", d)
			}
		}
	}
	check("after runs within a run")

	for range p.Steps(t.Context(), request) {
		break
	}
	generate(t, p, ask(""))
	check("after a run given up")
}

// TestAdapterGoroutines makes pictures with different adapters at the same time.
func TestAdapterGoroutines(t *testing.T) {
	p := openWith(t, loraFolder(t))
	tags := []string{"", "<lora:person:1>", "<lora:other:1:0.5>", "<lora:person:0:1>"}
	request := func(i int) Request { return small(func(r *Request) { r.Prompt += tags[i%len(tags)] }) }
	var want []*image.NRGBA
	for i := range tags {
		want = append(want, generate(t, p, request(i)).Pictures[0].Image)
	}
	var all sync.WaitGroup
	for i := range 2 * len(tags) {
		all.Go(func() {
			result, err := p.Generate(t.Context(), request(i))
			if err != nil {
				t.Error(err)
			} else if d := difference(result.Pictures[0].Image, want[i%len(tags)]); d != 0 {
				t.Errorf("%q: the picture differs by %d/255", tags[i%len(tags)], d)
			}
		})
	}
	all.Wait()
	if n := p.cache.Usage().Loaded; n != 3 {
		t.Errorf("%d sets of parameters are held afterwards, want 3", n)
	}
}

// TestAdapterFileChanges puts another adapter in the place of one that has been used.
func TestAdapterFileChanges(t *testing.T) {
	dir := t.TempDir()
	p := openWith(t, dir)
	path := filepath.Join(dir, "person.safetensors")
	request := small(func(r *Request) { r.Prompt += "<lora:person:1>" })
	copyFile(t, path, loraFile(t, "tiny-random", "kohya"))
	first := generate(t, p, request)
	opened := p.opened[path].Adapter
	if generate(t, p, request); p.opened[path].Adapter != opened {
		t.Error("an unchanged file is read for every picture")
	}
	copyFile(t, path, loraFile(t, "tiny-random", "locon"))
	second := generate(t, p, request)
	if difference(first.Pictures[0].Image, second.Pictures[0].Image) == 0 || first.Pictures[0].Infotext == second.Pictures[0].Infotext {
		t.Error("the new file makes no difference")
	}
	if generate(t, p, small(nil)); len(p.opened) != 0 {
		t.Error("adapters stay in memory that the last request did not have")
	}
}

// TestAddAdapter draws with an adapter in memory, by name and by tag, and puts another in its place.
func TestAddAdapter(t *testing.T) {
	dir := loraFolder(t)
	p := openWith(t, dir)
	draw := func(change func(r *Request)) *image.NRGBA { return generate(t, p, small(change)).Pictures[0].Image }
	byFile := func(name string) *image.NRGBA {
		return draw(func(r *Request) { r.Adapters = []Adapter{{Path: filepath.Join(dir, name+".safetensors")}} })
	}
	for _, file := range []string{"person", "other"} {
		want := byFile(file)
		a, err := lora.Open(filepath.Join(dir, file+".safetensors"), p.targets)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.AddAdapter("other", a); err != nil {
			t.Fatal(err)
		}
		if d := difference(want, draw(func(r *Request) { r.Adapters = []Adapter{{Name: "other"}} })); d != 0 {
			t.Errorf("%s by name: the picture differs by %d/255", file, d)
		}
		if d := difference(want, draw(func(r *Request) { r.Prompt += "<lora:other>" })); d != 0 {
			t.Errorf("%s by tag: the picture differs by %d/255", file, d)
		}
	}
	for _, name := range []string{"", "a:b", "a>b"} {
		if err := p.AddAdapter(name, &lora.Adapter{Hash: strings.Repeat("0", 64)}); err == nil || !strings.Contains(err.Error(), "name it") {
			t.Errorf("an adapter called %q: %v", name, err)
		}
	}
	if err := p.AddAdapter("x", &lora.Adapter{}); err == nil || !strings.Contains(err.Error(), "lora.NewAdapter") {
		t.Errorf("an adapter without hash: %v", err)
	}
}

func TestLogger(t *testing.T) {
	var log bytes.Buffer
	dir := loraFolder(t)
	p := openTinyWith(t, openCPU(t), Options{LoRADirs: []string{dir}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for range 2 {
		if _, err := p.Adapters(Request{Prompt: "<lora:person>"}); err != nil {
			t.Fatal(err)
		}
	}
	if lines := strings.Count(log.String(), "\n"); lines != 1 || !strings.Contains(log.String(), "person.safetensors") || !strings.Contains(log.String(), "modules") {
		t.Errorf("%d lines, want one about the adapter:\n%s", lines, log.String())
	}
}

func TestPipelineAdapters(t *testing.T) {
	dir := loraFolder(t)
	p := openWith(t, dir)
	got, err := p.Adapters(small(func(r *Request) {
		r.Prompt = "<lora:person:0.5:1> <lora:personname_lora_v1:0.2>"
		r.Adapters = []Adapter{{Path: filepath.Join(dir, "other.safetensors")}}
	}))
	if err != nil {
		t.Fatal(err)
	}
	// The file that is named twice has the last strength twice, as in the web UI.
	want := []lora.Applied{{Strength: both(0.2)}, {Strength: both(0.2)}, {Strength: both(1)}}
	for i, name := range []string{"person", "person", "other"} {
		if i >= len(got) || filepath.Base(got[i].Path) != name+".safetensors" || got[i].Strength != want[i].Strength || len(got[i].Modules) == 0 {
			t.Fatalf("have %v, want %s at %v in place %d", got, name, want[i].Strength, i)
		}
	}
	if len(got) != 3 {
		t.Errorf("%d adapters, want 3", len(got))
	}
}

// TestLoRAOfEveryPrompt adds a LoRA to prompts that do not have it, as if it stood in them.
func TestLoRAOfEveryPrompt(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: draws picture after picture")
	}
	dir := loraFolder(t)
	p := openTinyWith(t, openCPU(t), Options{LoRADirs: []string{dir}, LoRA: "person", LoRAMultiplier: new(0.5)})
	plain := openWith(t, dir)
	for _, c := range []struct{ prompt, hires, same, sameHires string }{
		{"a man", "", "a man<lora:person:0.5>", ""},
		{"a man # with a comment", "", "a man \n<lora:person:0.5>", ""},
		{"a man <lora:person:0.25>", "", "a man <lora:person:0.25>", ""},
		{"a man <lora:other:1>", "a woman", "a man <lora:other:1><lora:person:0.5>", "a woman<lora:person:0.5>"},
	} {
		draw := func(p *Pipeline, prompt, hires string) Picture {
			r := small(func(r *Request) {
				if r.Prompt = prompt; hires != "" {
					r.Hires = &Hires{Prompt: hires, Steps: 1, Scale: 1.5}
				}
			})
			return generate(t, p, r).Pictures[0]
		}
		got, want := draw(p, c.prompt, c.hires), draw(plain, c.same, c.sameHires)
		if difference(got.Image, want.Image) > 0 || strings.ReplaceAll(got.Infotext, " <", "<") != strings.ReplaceAll(want.Infotext, " <", "<") {
			t.Errorf("%q: the picture of\n%s\nwant that of\n%s", c.prompt, got.Infotext, want.Infotext)
		}
	}
	if got, err := p.Adapters(Request{Prompt: "a man"}); err != nil || len(got) != 1 || got[0].Strength != both(0.5) {
		t.Errorf("the adapters are %v, %v", got, err)
	}
	if _, err := Open(t.Context(), tinyRandom(t), openCPU(t), Options{LoRA: "a:b"}); len(invalid.Fields(err)) != 1 {
		t.Errorf("a name with a colon: %v", err)
	}
}

// TestAdapterGolden compares the text encoder with a kit's adapter to what diffusers and PEFT compute beside it. The
// kits' weights are float16, and so are the merged ones: each is off by up to 2⁻¹¹ of itself, which shows in the result
// in the same order. Package lora has the comparison without that rounding.
func TestAdapterGolden(t *testing.T) {
	const tolerance = 1.0 / (1 << 10)
	golden.ForEach(t, func(t *testing.T, k golden.Kit, dev compute.Device) {
		path := loraFile(t, k.Name, "kohya")
		if _, err := os.Stat(path); err != nil {
			t.Skip("the kit has no adapter, or is not one of testdata")
		}
		p, want := openKit(t, k, dev), k.Load(t, "lora_goldens")
		ids := want.Tensor(t, "input_ids")
		length := ids.Shape[1]
		chunks := []prompt.Chunk{{Tokens: ids.Int32()[1 : length-1]}, {Tokens: ids.Int32()[length+1 : 2*length-1]}}
		for _, c := range []struct {
			name     string
			strength lora.Strength
			same     bool
		}{
			{"base", lora.Strength{UNet: 1}, true},
			{"kohya.1", both(1), true},
			{"kohya.te0.3_unet0.9", lora.Strength{TextEncoder: 0.3, UNet: 0.9}, true},
			{"kohya.te0.3_unet0.9", lora.Strength{TextEncoder: 0.9, UNet: 0.3}, false},
		} {
			set, err := p.openAdapters(Request{Adapters: []Adapter{{Path: path, Strength: &c.strength}}})
			if err != nil {
				t.Fatal(err)
			}
			hidden, err := p.encodeChunks(t.Context(), &conditioning{adapters: set}, chunks, 1)
			if err != nil {
				t.Fatal(err)
			}
			d := golden.Compare(hidden, want.Tensor(t, c.name+".text").Float32)
			if same := d.Relative <= tolerance; same != c.same {
				t.Errorf("%s at %+v: %v, tolerance %.2g", c.name, c.strength, d, tolerance)
			}
		}
	})
}

// TestAdapterInfotext reads what infotexts say of adapters, and makes the picture again from that.
func TestAdapterInfotext(t *testing.T) {
	dir := loraFolder(t)
	copyFile(t, filepath.Join(dir, "a, b.safetensors"), loraFile(t, "tiny-random", "kohya"))
	p := openWith(t, dir)
	hash := func(name string) string {
		t.Helper()
		a, err := p.Adapters(Request{Prompt: "<lora:" + name + ">"})
		if err != nil {
			t.Fatal(err)
		}
		return a[0].Hash[:12]
	}
	eta := 0.5
	strength := &lora.Strength{TextEncoder: 0.5, UNet: -1, Rank: 2}
	for _, c := range []struct {
		name, prompt string
		files        []Adapter
		head, hashes string
	}{
		{"none", "a man", nil, "a man", ""},
		{"tags", "a man <lora:person:0.5>, <lora:other:1>hat", nil, "a man <lora:person:0.5>, <lora:other:1>hat",
			`, Lora hashes: "person: ` + hash("person") + `, other: ` + hash("other") + `"`},
		{"files", "a man", []Adapter{{Path: filepath.Join(dir, "person.safetensors")}, {Path: filepath.Join(dir, "other.safetensors"), Strength: strength}},
			"a man <lora:person:1> <lora:other:0.5:-1:2>", `, Lora hashes: "person: ` + hash("person") + `, other: ` + hash("other") + `"`},
		{"named twice", "<lora:person:0.3><lora:person:0.4>", nil, "<lora:person:0.3><lora:person:0.4>",
			`, Lora hashes: "person: ` + hash("person") + `"`},
		{"comma", "<lora:a, b:0.3>", nil, "<lora:a, b:0.3>", `, Lora hashes: "a b: ` + hash("a, b") + `"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			request := small(func(r *Request) {
				r.Prompt, r.Adapters, r.Sampler, r.Eta, r.NegativePrompt = c.prompt, c.files, sampler.EulerA, &eta, ""
			})
			result := generate(t, p, request)
			head, rest, _ := strings.Cut(result.Pictures[0].Infotext, "\n")
			if head != c.head {
				t.Errorf("the prompt is %q, want %q", head, c.head)
			}
			if want := "RNG: NV" + c.hashes + ", Eta: 0.5"; !strings.Contains(rest, want) {
				t.Errorf("no %s in\n%s", want, rest)
			}
			request.Prompt, request.Adapters = head, nil
			if d := difference(generate(t, p, request).Pictures[0].Image, result.Pictures[0].Image); d != 0 {
				t.Errorf("the prompt in the infotext makes a picture that differs by %d/255", d)
			}
		})
	}
}
