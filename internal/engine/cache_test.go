package engine

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/ref"
	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/vae"
	"github.com/atelier-go/atelier/weights"
)

// openKit holds the networks of a kit on a device until the end of the test.
func openKit(t *testing.T, k golden.Kit, dev compute.Device, most int) *Cache {
	t.Helper()
	n, err := Open(k.Open(t))
	if err != nil {
		t.Fatal(err)
	}
	c := NewCache(dev, n, most)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// tiny is the smallest of the kits.
func tiny(t *testing.T) golden.Kit {
	kits := golden.Kits(t)
	return kits[slices.IndexFunc(kits, func(k golden.Kit) bool { return k.Name == "tiny-variant" })]
}

// frame prepares a program, and fails if that does.
func frame(t *testing.T, c *Cache, k Key, v Variant) *Frame {
	t.Helper()
	f, err := c.Frame(k, v)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestCache counts what is held while programs of several variants come and go.
func TestCache(t *testing.T) {
	c := openKit(t, tiny(t), ref.New(), 2)
	asked := 0
	changed := Variant{ID: "changed", Source: func() (compute.ParamSource, error) {
		asked++
		return c.networks.Components[weights.KindTextEncoder], nil
	}}
	expect := func(when string, loaded, programs int) {
		t.Helper()
		if u := c.Usage(); u.Loaded != loaded || u.Programs != programs {
			t.Errorf("%s: %d sets of parameters and %d programs are held, want %d and %d", when, u.Loaded, u.Programs, loaded, programs)
		}
		for key := range c.programs {
			if !slices.Contains(c.loaded, key.on) {
				t.Errorf("%s: a program is left of parameters that are gone: %+v", when, key.Key)
			}
		}
	}
	closing := func(all ...*Frame) {
		t.Helper()
		for _, f := range append(all, all...) { // the second time is harmless
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	expect("at first", 0, 0)
	one := frame(t, c, TextKey{Sequences: 1}, Variant{})
	again := frame(t, c, TextKey{Sequences: 1}, Variant{})
	expect("twice the same", 1, 1)
	other := frame(t, c, TextKey{Sequences: 1}, changed)
	expect("two variants at once", 2, 2)
	closing(one)
	expect("one of two frames closed", 2, 2)
	closing(again)
	expect("the checkpoint's own are idle, and their place is taken", 1, 1)
	closing(other)
	expect("what is idle stays", 1, 1)
	closing(frame(t, c, TextKey{Sequences: 1}, changed))
	if asked != 1 {
		t.Errorf("a variant's source was asked %d times", asked)
	}
	for n := range 4 {
		closing(frame(t, c, TextKey{Sequences: 1 + n}, changed))
	}
	expect("more programs than are kept", 1, 2)
	first, second, third := frame(t, c, TextKey{Sequences: 4}, changed), frame(t, c, TextKey{Sequences: 5}, changed), frame(t, c, DecodeKey{4, 4}, Variant{})
	expect("more in use than are kept", 2, 3)
	closing(first, second, third)
	expect("all idle", 2, 2)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Frame(DecodeKey{4, 4}, Variant{}); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("closed, the error is %v", err)
	}
	if u := c.Usage(); u.Loaded != 0 || u.Programs != 0 {
		t.Errorf("closed, %+v is held", u)
	}
}

// negative is a source that lays the negative of one parameter over a component, or an error.
type negative struct {
	*weights.Component
	name string
	err  error
}

func (n negative) Base() compute.ParamSource { return n.Component }
func (n negative) Changed() []string         { return []string{n.name} }

func (n negative) ParamData(name string) ([]byte, error) {
	data, err := n.Component.ParamData(name)
	if name != n.name {
		return data, err
	}
	data = bytes.Clone(data)
	t, _ := n.ParamType(name)
	for last := t.DType.Size() - 1; last < len(data); last += t.DType.Size() {
		data[last] ^= 0x80
	}
	return data, errors.Join(err, n.err)
}

func (n negative) OpenParam(name string) io.ReaderAt {
	if name == n.name {
		return nil
	}
	return n.Component.OpenParam(name)
}

// TestReload goes from one variant of a network to another and back: what is there is changed where it is, with what runs on it, and gives the
// bits that it would give if it were all loaded.
func TestReload(t *testing.T) {
	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	variant := func(c *Cache, of string, fault error) Variant {
		return Variant{ID: of, Source: func() (compute.ParamSource, error) {
			return negative{c.networks.Components[weights.KindTextEncoder], of, fault}, nil
		}}
	}
	states := func(c *Cache, v Variant) []float32 {
		t.Helper()
		f := frame(t, c, TextKey{Sequences: 1}, v)
		defer f.Close()
		ids, states := f.Mirror("input_ids"), f.Mirror("last_hidden_state")
		for i := range ids.I32 {
			ids.I32[i] = int32(i)
		}
		if err := f.Do(t.Context()); err != nil {
			t.Fatal(err)
		}
		return slices.Clone(states.F32)
	}
	const layer = "text_model.encoder.layers.0."
	c := openKit(t, tiny(t), dev, 2)
	var before [][]float32
	for _, of := range []string{"", layer + "mlp.fc1.weight", layer + "self_attn.q_proj.weight", "text_model.embeddings.token_embedding.weight", "text_model.final_layer_norm.bias", ""} {
		v := Variant{}
		if of != "" {
			v = variant(c, of, nil)
		}
		got, want := states(c, v), states(openKit(t, tiny(t), dev, 1), v)
		if !slices.Equal(got, want) {
			t.Errorf("%q, changed in place, gives another result", of)
		}
		if slices.ContainsFunc(before, func(b []float32) bool { return slices.Equal(b, got) }) != (of == "" && len(before) > 0) {
			t.Errorf("%q gives what another variant gave, or the checkpoint's is not what it was", of)
		}
		before = append(before, got)
		if u := c.Usage(); u.Loaded != 1 || u.Programs != 1 {
			t.Errorf("%q: %d sets of parameters and %d programs are held", of, u.Loaded, u.Programs)
		}
	}
	broken := errors.New("the disk is gone")
	if _, err := c.Frame(TextKey{Sequences: 1}, variant(c, layer+"mlp.fc2.weight", broken)); !errors.Is(err, broken) {
		t.Errorf("the error is %v", err)
	}
	if u := c.Usage(); u.Loaded != 0 || u.Programs != 0 {
		t.Errorf("what is half changed is held: %+v", u)
	}
	if !slices.Equal(states(c, Variant{}), before[0]) {
		t.Error("loaded anew, the checkpoint gives another result")
	}
	held := frame(t, c, TextKey{Sequences: 1}, Variant{})
	defer held.Close()
	held.Mirror("input_ids")
	held.Mirror("last_hidden_state")
	states(c, variant(c, layer+"mlp.fc1.weight", nil))
	if err := held.Do(t.Context()); err != nil {
		t.Fatal(err)
	}
	if u := c.Usage(); u.Loaded != 2 {
		t.Errorf("beside what is in use, %d sets of parameters are held, want 2", u.Loaded)
	}
}

// recording is a key of a test's own; number tells two apart.
type recording struct {
	number int
	record *func(r *Recorder)
}

func (recording) Network() weights.Kind             { return weights.KindVAE }
func (k recording) Record(r *Recorder, _ *Networks) { (*k.record)(r) }

// counter adds "by" to "sum", and says what it was before.
func counter() recording {
	record := func(r *Recorder) {
		sum, by := r.Input("sum", compute.F32, 1, 1), r.Input("by", compute.F32, 1, 1)
		r.Output("before", r.Op(compute.Activate{X: sum, Activation: compute.Identity}))
		r.Output("sum", r.Op(compute.Add{A: sum, B: by}))
	}
	return recording{1, &record}
}

// TestFrame runs a program whose output is its next input.
func TestFrame(t *testing.T) {
	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	c := openKit(t, tiny(t), dev, 1)
	f := frame(t, c, counter(), Variant{})
	defer f.Close()
	by, before, sum := f.Mirror("by"), f.Mirror("before"), f.Rotating("sum")
	if f.Mirror("by") != by {
		t.Error("a mirror asked for again is another")
	}
	step := func() {
		by.F32[0]++
		if err := f.Do(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.Rotate()
	}
	for range 4 {
		step()
	}
	var last [1]float32
	if err := f.Current(sum).Download(compute.Floats(last[:])); err != nil {
		t.Fatal(err)
	}
	if last[0] != 10 || before.F32[0] != 6 || f.Host("before").F32[0] != 6 || f.Host("nothing").Len() != 0 {
		t.Errorf("the sum is %v, before %v", last[0], before.F32[0])
	}
	if n := testing.AllocsPerRun(10, step); n != 0 {
		t.Errorf("%v allocations a run, want none", n)
	}
}

// TestSharedFrames runs two programs by turns on one state, each with something of its own.
func TestSharedFrames(t *testing.T) {
	c := openKit(t, tiny(t), ref.New(), 2)
	a, b := frame(t, c, counter(), Variant{}), frame(t, c, counter(), Variant{})
	defer a.Close()
	defer b.Close()
	by, sum := a.Mirror("by"), a.Rotating("sum")
	a.Mirror("before")
	before := b.Mirror("before")
	b.Share(a)
	by.F32[0] = 2
	for _, f := range []*Frame{a, b, b, a, b} {
		if err := errors.Join(by.Send(), f.Do(t.Context())); err != nil {
			t.Fatal(err)
		}
		a.Rotate()
		b.Rotate()
	}
	var last [1]float32
	if err := b.Current(sum).Download(compute.Floats(last[:])); err != nil {
		t.Fatal(err)
	}
	if last[0] != 10 || before.F32[0] != 8 || a.Host("before").F32[0] != 6 {
		t.Errorf("the sum is %v, before %v and %v", last[0], before.F32[0], a.Host("before").F32[0])
	}
}

// TestFrameMistakes sets frames up wrongly.
func TestFrameMistakes(t *testing.T) {
	c := openKit(t, tiny(t), ref.New(), 1)
	for _, k := range []struct {
		name string
		set  func(f *Frame)
		say  string
	}{
		{"nothing", func(f *Frame) {}, `"sum" is not bound`},
		{"an input is missing", func(f *Frame) { f.Rotating("sum"); f.Tensor("before") }, `"by" is not bound`},
		{"an output is missing", func(f *Frame) { f.Rotating("sum"); f.Mirror("by") }, `"before" is not bound`},
		{"no such name", func(f *Frame) { f.Mirror("but"); f.MirrorRest() }, `no input and no output called "but"`},
		{"twice", func(f *Frame) { f.Bind("by", f.Tensor("by")); f.MirrorRest() }, `"by" is bound twice`},
		{"an input that is no output", func(f *Frame) { f.Rotating("by"); f.MirrorRest() }, `"by" is no free input and output`},
		{"a place that is taken", func(f *Frame) { f.Mirror("sum"); f.Rotating("sum"); f.MirrorRest() }, `"sum" is no free input and output`},
	} {
		f := frame(t, c, counter(), Variant{})
		k.set(f)
		if err := f.Do(t.Context()); err == nil || !strings.Contains(err.Error(), k.say) {
			t.Errorf("%s: the error is %v, want %s in it", k.name, err, k.say)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	for name, record := range map[string]func(r *Recorder){
		"two inputs": func(r *Recorder) {
			r.Output("y", r.Op(compute.Add{A: r.Input("x", compute.F32, 1, 1), B: r.Input("x", compute.F32, 1, 1)}))
		},
		"two outputs": func(r *Recorder) {
			x := r.Input("x", compute.F32, 1, 1)
			r.Output("x", r.Op(compute.Add{A: x, B: x}))
			r.Output("x", r.Op(compute.Add{A: x, B: x}))
		},
	} {
		if _, err := c.Frame(recording{2, &record}, Variant{}); err == nil || !strings.Contains(err.Error(), `two inputs or two outputs called "x"`) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
	if u := c.Usage(); u.Programs > 1 {
		t.Errorf("%d programs are held", u.Programs)
	}
}

// TestPictures compares both directions, whole and in tiles, with those of diffusers.
func TestPictures(t *testing.T) {
	golden.ForEach(t, func(t *testing.T, k golden.Kit, dev compute.Device) {
		c, want := openKit(t, k, dev, 1), k.Load(t, "vae")
		for _, form := range []struct {
			prefix string
			tiled  bool
		}{{"", false}, {"tiled.", true}} {
			if form.tiled && len(want.Names(form.prefix)) == 0 {
				continue
			}
			picture, err := c.Decode(t.Context(), Variant{}, grid(want.Tensor(t, form.prefix+"latent").Sample(0)), form.tiled)
			if err != nil {
				t.Fatal(err)
			}
			golden.Check(t, form.prefix+"decode.out", picture.Data, want.Tensor(t, form.prefix+"decode.out").Sample(0))

			image := grid(want.Tensor(t, form.prefix+"image").Sample(0))
			mean, err := c.Encode(t.Context(), Variant{}, image, nil, form.tiled)
			if err != nil {
				t.Fatal(err)
			}
			golden.Check(t, form.prefix+"encode.mean", mean.Data, want.Tensor(t, form.prefix+"encode.mean").Sample(0))
			noise := slices.Repeat([]float32{-2}, len(mean.Data))
			drawn, err := c.Encode(t.Context(), Variant{}, image, noise, form.tiled)
			if err != nil {
				t.Fatal(err)
			}
			logvar := want.Tensor(t, form.prefix+"encode.logvar").Sample(0)
			_, std := vae.Moments(interleave(mean, grid(logvar)), mean.Channels)
			for i, s := range std {
				if d := drawn.Data[i] - (mean.Data[i] - 2*s); d > 1e-4 || d < -1e-4 {
					t.Fatalf("%selement %d is off by %v", form.prefix, i, d)
				}
			}
		}
		if n := c.Usage().Programs; n > 1 {
			t.Errorf("%d programs are kept, want one", n)
		}
	})
}

// grid is a golden of one sample.
func grid(x golden.Tensor) vae.Grid {
	x = x.ChannelsLast()
	return vae.Grid{Height: x.Shape[1], Width: x.Shape[2], Channels: x.Shape[3], Data: x.Float32}
}

// interleave puts means and logarithms of variances together as an encoder does.
func interleave(mean, logvar vae.Grid) (moments []float32) {
	for i := 0; i < len(mean.Data); i += mean.Channels {
		moments = append(moments, mean.Data[i:][:mean.Channels]...)
		moments = append(moments, logvar.Data[i:][:mean.Channels]...)
	}
	return moments
}

// TestPicturesOfNoSize converts what is not as large as it says.
func TestPicturesOfNoSize(t *testing.T) {
	c := openKit(t, tiny(t), ref.New(), 1)
	latents := c.networks.LatentChannels()
	for name, do := range map[string]func() (vae.Grid, error){
		"too few latents": func() (vae.Grid, error) {
			return c.Decode(t.Context(), Variant{}, vae.Grid{Height: 4, Width: 4, Channels: latents, Data: make([]float32, 3)}, false)
		},
		"no latents": func() (vae.Grid, error) { return c.Decode(t.Context(), Variant{}, vae.Grid{}, false) },
		"a grey picture": func() (vae.Grid, error) {
			return c.Encode(t.Context(), Variant{}, vae.Grid{Height: 16, Width: 16, Channels: 1, Data: make([]float32, 256)}, nil, false)
		},
		"noise of another size": func() (vae.Grid, error) {
			return c.Encode(t.Context(), Variant{}, vae.Grid{Height: 16, Width: 16, Channels: 3, Data: make([]float32, 768)}, make([]float32, 5), false)
		},
	} {
		if _, err := do(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
