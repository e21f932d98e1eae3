package sd

import (
	"errors"
	"image"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/internal/picture"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd/infotext"
	"github.com/atelier-go/atelier/weights"
)

// raised is a network with more in one of its parameters.
type raised struct {
	*weights.Component
	name string
	by   float32
}

// ParamData implements compute.ParamSource.
func (r raised) ParamData(name string) ([]byte, error) {
	data, err := r.Component.ParamData(name)
	if err != nil || name != r.name {
		return data, err
	}
	typ, _ := r.ParamType(name)
	values := make([]float32, typ.Shape.Elements())
	weights.Widen(values, data, typ.DType)
	for i := range values {
		values[i] += r.by
	}
	changed := make([]byte, len(data))
	weights.Narrow(changed, values, typ.DType)
	return changed, nil
}

// otherModel saves the smallest model as a folder, by so much another one in each of its networks.
func otherModel(t testing.TB, path string, by float32) string {
	t.Helper()
	ckpt, err := weights.Open(tinyRandom(t), weights.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ckpt.Close()
	params := make(map[weights.Kind]compute.ParamSource)
	for kind, name := range map[weights.Kind]string{
		weights.KindTextEncoder: "text_model.final_layer_norm.bias", weights.KindUNet: "conv_out.bias", weights.KindVAE: "decoder.conv_out.bias",
	} {
		c, err := ckpt.Component(kind)
		if err != nil {
			t.Fatal(err)
		}
		params[kind] = raised{c, name, by}
	}
	if err := ckpt.Save(t.Context(), path, weights.SaveOptions{Params: params}); err != nil {
		t.Fatal(err)
	}
	return path
}

// refinedBy asks for a refiner.
func refinedBy(r Request, f Refiner) Request {
	r.Refiner = &f
	return r
}

// refinable are requests of all sorts that keep something between steps, and of both passes.
func refinable(t testing.TB) map[string]Request {
	t.Helper()
	return map[string]Request{
		"hires": small(func(r *Request) { r.Hires = &Hires{Upscaler: Lanczos, Scale: 1.5} }),
		"mask":  inpaint(t, image.Rect(8, 4, 30, 20), func(r *Request) { r.Sampler, r.Steps = sampler.UniPC, 6 }),
		"NGMS":  small(func(r *Request) { r.Sampler, r.Steps, r.Speed.MinUncond = sampler.DPMPP2MSDE, 4, 100 }),
		"edits": small(func(r *Request) {
			r.Sampler, r.Steps, r.Prompt = sampler.LMS, 4, "a [dog:cat:0.5] and [red|blue] AND a tree"
		}),
	}
}

// TestRefinerAtItsEnds takes over at once and never, and with a checkpoint that is the same in the middle: these are the pictures of one
// checkpoint alone, byte for byte.
func TestRefinerAtItsEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: pictures one after the other")
	}
	dir, dev := t.TempDir(), openCPU(t)
	other := otherModel(t, filepath.Join(dir, "other"), 0.25)
	otherModel(t, filepath.Join(dir, "same"), 0)
	base := openTinyWith(t, dev, Options{CheckpointDirs: []string{dir}})
	second, err := Open(t.Context(), other, dev, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	for name, r := range refinable(t) {
		t.Run(name, func(t *testing.T) {
			own, its := generate(t, base, r).Pictures[0], generate(t, second, r).Pictures[0]
			if difference(own.Image, its.Image) == 0 {
				t.Fatal("both checkpoints draw the same")
			}
			for _, c := range []struct {
				name string
				f    Refiner
				want Picture
			}{
				{"never", Refiner{Checkpoint: "other", SwitchAt: new(1.0), Passes: RefineBoth}, own},
				{"at once", Refiner{Checkpoint: "other", SwitchAt: new(0.0), Passes: RefineBoth}, its},
				{"the same", Refiner{Checkpoint: "same", SwitchAt: new(0.4), Passes: RefineBoth}, own},
				{"itself", Refiner{Checkpoint: tinyRandom(t), SwitchAt: new(0.4)}, own},
			} {
				if alone := c.name == "never" || c.name == "itself"; alone && name != "hires" {
					continue
				}
				got := generate(t, base, refinedBy(r, c.f)).Pictures[0]
				if d := difference(got.Image, c.want.Image); d > 0 {
					t.Errorf("%s: the picture differs by %d/255", c.name, d)
				}
				if says, want := strings.Contains(got.Infotext, "Refiner"), c.name == "at once" || c.name == "the same"; says != want {
					t.Errorf("%s: its text is\n%s", c.name, got.Infotext)
				}
			}
		})
	}
}

// TestRefinerTakesOver looks at which step the latents leave those of the first checkpoint, and remakes the picture from its text.
func TestRefinerTakesOver(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "below"), 0o777); err != nil {
		t.Fatal(err)
	}
	otherModel(t, filepath.Join(dir, "below", "other"), 0.25)
	p := openTinyWith(t, openCPU(t), Options{CheckpointDirs: []string{dir}})
	states := func(r Request) (all [][]float32, last *Result) {
		for step, err := range p.Steps(t.Context(), r) {
			if err != nil {
				t.Fatal(err)
			}
			latents, _, err := step.Latents()
			if err != nil {
				t.Fatal(err)
			}
			if all = append(all, latents); step.Last() {
				if last, err = step.Result(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		return all, last
	}
	plain := small(func(r *Request) { r.Sampler, r.Steps, r.Hires = sampler.Euler, 5, &Hires{Steps: 4} })
	alone, _ := states(plain)
	for _, c := range []struct {
		f     Refiner
		first int // step that the refiner makes
		says  string
	}{
		{Refiner{Checkpoint: "other", SwitchAt: new(0.7), Passes: RefineFirst}, 3, "Refiner switch at: 0.7, Hires refiner: first pass"},
		{Refiner{Checkpoint: "below/other", SwitchAt: new(0.6), ByCalls: true, Passes: RefineBoth}, 3, "Refiner switch at: 0.6, Refiner switch by sampling steps: True, Hires refiner: both passes"},
		{Refiner{Checkpoint: "oth"}, 8, "Refiner switch at: 0.8, Version"}, // of the second pass, at timesteps 749, 499, 250 and 0
	} {
		got, result := states(refinedBy(plain, c.f))
		first := slices.IndexFunc(got, func(latents []float32) bool {
			return len(alone) > 0 && !slices.Equal(latents, alone[indexOf(got, latents)])
		})
		if first != c.first {
			t.Errorf("%+v: step %d is the first of another checkpoint, want %d", c.f, first, c.first)
		}
		text := result.Pictures[0].Infotext
		if !strings.Contains(text, "Refiner: other, ") || !strings.Contains(text, c.says) {
			t.Errorf("%+v: its text is\n%s\nwant %q in it", c.f, text, c.says)
		}
		again, left, err := FromInfotext(infotext.Parse(text))
		if err != nil || len(left) > 0 {
			t.Fatal(left, err)
		}
		if remade := generate(t, p, again).Pictures[0]; difference(remade.Image, result.Pictures[0].Image) > 0 || remade.Infotext != text {
			t.Errorf("%+v: from its text it is another picture, of\n%s\nwant\n%s", c.f, remade.Infotext, text)
		}
	}
}

// indexOf is the place of a state among those of a run.
func indexOf(all [][]float32, one []float32) int {
	return slices.IndexFunc(all, func(s []float32) bool { return &s[0] == &one[0] })
}

// held is the most of all that a pipeline and those of other checkpoints hold after a step of a request.
func held(t *testing.T, p *Pipeline, r Request) (most compute.MemoryReport) {
	t.Helper()
	for step, err := range p.Steps(t.Context(), r) {
		if err != nil {
			t.Fatal(err)
		}
		if step.Last() {
			if _, err := step.Result(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		now := p.cache.Usage().MemoryReport
		for _, second := range p.others {
			its := second.cache.Usage().MemoryReport
			now.Params += its.Params
			now.Arena, now.Worker = max(now.Arena, its.Arena), max(now.Worker, its.Worker)
		}
		most.Params, most.Arena, most.Worker = max(most.Params, now.Params), max(most.Arena, now.Arena), max(most.Worker, now.Worker)
	}
	return most
}

// TestHiresCheckpoint draws the second pass with another checkpoint: as that one alone draws over the first pass's picture, enlarged. Four
// steps of half strength are a run of eight from the fifth on, as image to image makes it at 0.4.
func TestHiresCheckpoint(t *testing.T) {
	dir, dev := t.TempDir(), openCPU(t)
	other := otherModel(t, filepath.Join(dir, "other"), 0.25)
	p := openTinyWith(t, dev, Options{CheckpointDirs: []string{dir}})
	second, err := Open(t.Context(), other, dev, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	with := func(change func(r *Request)) Request {
		return small(func(r *Request) {
			r.Hires = &Hires{Upscaler: Lanczos, Strength: new(0.5), Steps: 4, Checkpoint: "other"}
			change(r)
		})
	}
	first, whole := generate(t, p, small(nil)).Pictures[0].Image, image.Rect(0, 0, 80, 48)
	larger := pngOf(t, picture.Resample(first, whole.Max, whole, picture.Lanczos, 4))
	over := generate(t, second, small(func(r *Request) { r.Image, r.Strength, r.Steps, r.Width, r.Height = larger, new(0.4), 8, 80, 48 })).Pictures[0].Image
	alone := generate(t, p, with(func(r *Request) { r.Hires.Checkpoint = "" })).Pictures[0].Image
	for name, c := range map[string]struct {
		r    Request
		want *image.NRGBA
	}{
		"other":                {with(func(*Request) {}), over},
		"itself":               {with(func(r *Request) { r.Hires.Checkpoint = tinyRandom(t) }), alone},
		"the same":             {with(func(r *Request) { r.Hires.Checkpoint = sameCheckpoint }), alone},
		"given back at once":   {with(func(r *Request) { r.Refiner = &Refiner{Checkpoint: tinyRandom(t), SwitchAt: new(0.0)} }), alone},
		"and faces of the own": {with(func(r *Request) { r.Faces = &FacePass{Boxes: []image.Rectangle{left}, Strength: new(0.0)} }), over},
	} {
		got := generate(t, p, c.r).Pictures[0]
		if d := difference(got.Image, c.want); d > 0 {
			t.Errorf("%s: the picture differs by %d/255", name, d)
		}
		if says := strings.Contains(got.Infotext, "Hires checkpoint: other, "); says != (c.r.Hires.Checkpoint == "other") {
			t.Errorf("%s: its text is\n%s", name, got.Infotext)
		}
		again, left, err := FromInfotext(infotext.Parse(got.Infotext))
		if err != nil || len(left) > 0 {
			t.Fatal(left, err)
		}
		if remade := generate(t, p, again).Pictures[0]; difference(remade.Image, got.Image) > 0 || remade.Infotext != got.Infotext {
			t.Errorf("%s: from its text it is another picture, of\n%s\nwant\n%s", name, remade.Infotext, got.Infotext)
		}
	}
	if difference(over, alone) == 0 {
		t.Error("both checkpoints draw the same")
	}
	for _, r := range []Request{with(func(*Request) {}), with(func(r *Request) { r.Hires.Upscaler = "" }), with(func(r *Request) { r.Hires.Strength = new(0.0) })} {
		p := openTinyWith(t, dev, Options{CheckpointDirs: []string{dir}})
		want, err := p.Memory(r)
		if err != nil {
			t.Fatal(err)
		}
		if most := held(t, p, r); most.Params > want.Params || most.Arena != want.Arena || most.Worker != want.Worker {
			t.Errorf("%+v: %+v was held, %+v was announced", *r.Hires, most, want)
		}
	}
	_, err = p.Generate(t.Context(), with(func(r *Request) { r.Hires.Checkpoint = "missing" }))
	if e, ok := errors.AsType[*weights.NoCheckpointError](err); !ok || !slices.Contains(e.Names, "other") || invalid.Fields(err)[0].Field != "Request.Hires.Checkpoint" {
		t.Errorf("%v, want a *weights.NoCheckpointError of Request.Hires.Checkpoint with what there is", err)
	}
}

// TestRefinerMemory counts what both checkpoints hold together after each step and at the end.
func TestRefinerMemory(t *testing.T) {
	dir := t.TempDir()
	otherModel(t, filepath.Join(dir, "other"), 0.25)
	for name, r := range map[string]Request{
		"plain":  small(func(r *Request) { r.Steps = 4 }),
		"pixels": small(func(r *Request) { r.Hires = &Hires{Upscaler: Lanczos, Scale: 1.5} }),
	} {
		for _, passes := range refined {
			p := openTinyWith(t, openCPU(t), Options{CheckpointDirs: []string{dir}})
			r := refinedBy(r, Refiner{Checkpoint: "other", SwitchAt: new(0.5), Passes: passes})
			want, err := p.Memory(r)
			if err != nil {
				t.Fatal(err)
			}
			most := held(t, p, r)
			if most.Params > want.Params || most.Arena != want.Arena || most.Worker != want.Worker {
				t.Errorf("%s, %s: %+v was held, %+v was announced", name, passes, most, want)
			}
			if alone, err := p.Memory(refinedBy(r, Refiner{})); err != nil || want.Params > alone.Params {
				t.Errorf("%s, %s: %+v with a refiner, %+v without, %v", name, passes, want, alone, err)
			}
			for _, second := range p.others {
				if u := second.cache.Usage(); u.Loaded > 0 || u.Programs > 0 {
					t.Errorf("%s, %s: the refiner still holds %+v", name, passes, u)
				}
			}
		}
	}
}

// TestRefinerAllocatesNothing counts what steps of the second checkpoint allocate, on the device made for speed.
func TestRefinerAllocatesNothing(t *testing.T) {
	dir := t.TempDir()
	otherModel(t, filepath.Join(dir, "other"), 0.25)
	p := openTinyWith(t, openCPU(t), Options{CheckpointDirs: []string{dir}})
	r := refinedBy(small(func(r *Request) { r.Steps = 20 }), Refiner{Checkpoint: "other", SwitchAt: new(0.2)})
	next, stop := iter.Pull2(p.Steps(t.Context(), r))
	defer stop()
	step := func() {
		if _, err, ok := next(); err != nil || !ok {
			t.Fatal(err, ok)
		}
	}
	for range 7 {
		step()
	}
	if n := testing.AllocsPerRun(10, step); n != 0 {
		t.Errorf("%v allocations a step, want none", n)
	}
}

// TestRefinerErrors wants to hear what can be done about refiners that cannot be.
func TestRefinerErrors(t *testing.T) {
	dir := t.TempDir()
	otherModel(t, filepath.Join(dir, "other"), 0.25)
	embeddingFile(t, filepath.Join(dir, "refiner-xl.safetensors"), "conditioner.embedders.0.model.ln_final.weight", []int{1}, []float32{1})
	if err := os.WriteFile(filepath.Join(dir, "broken.safetensors"), []byte("no weights"), 0o666); err != nil {
		t.Fatal(err)
	}
	p := openTinyWith(t, openCPU(t), Options{CheckpointDirs: []string{dir}})
	for _, c := range []struct {
		f     Refiner
		field string
		says  []string
	}{
		{Refiner{Checkpoint: "missing"}, "Refiner.Checkpoint", []string{"missing", "other", "refiner-xl.safetensors", "there are"}},
		{Refiner{Checkpoint: "other", SwitchAt: new(1.5)}, "Refiner.SwitchAt", []string{"1.5", "0 to 1"}},
		{Refiner{Checkpoint: "other", SwitchAt: new(-0.1)}, "Refiner.SwitchAt", []string{"-0.1"}},
		{Refiner{Checkpoint: "other", Passes: "third pass"}, "Refiner.Passes", []string{"third pass", "second pass"}},
		{Refiner{Checkpoint: "refiner-xl"}, "Refiner.Checkpoint", []string{"SDXL", "Stable Diffusion 1.4 or 1.5"}},
		{Refiner{Checkpoint: "broken"}, "Refiner.Checkpoint", []string{"broken.safetensors"}},
		{Refiner{Checkpoint: filepath.Join(golden.Root(t), "tinyportrait", "model")}, "Refiner.Checkpoint", []string{"another shape", "same kind"}},
	} {
		_, err := p.Generate(t.Context(), refinedBy(small(nil), c.f))
		fields := invalid.Fields(err)
		if len(fields) != 1 || fields[0].Field != "Request."+c.field {
			t.Errorf("%+v: %v, want one error of Request.%s", c.f, err, c.field)
			continue
		}
		for _, say := range c.says {
			if !strings.Contains(err.Error(), say) {
				t.Errorf("%+v: %v, want %q in it", c.f, err, say)
			}
		}
	}
	_, err := p.Generate(t.Context(), refinedBy(small(nil), Refiner{Checkpoint: "missing"}))
	if e, ok := errors.AsType[*weights.NoCheckpointError](err); !ok || !slices.Contains(e.Names, "other") {
		t.Errorf("%v, want a *weights.NoCheckpointError with what there is", err)
	}
	if none := generate(t, p, refinedBy(small(nil), Refiner{Checkpoint: "None"})); none.Request.Refiner != nil {
		t.Errorf("None is a refiner: %+v", none.Request.Refiner)
	}
}
