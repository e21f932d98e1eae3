package sd

import (
	"strings"
	"testing"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/engine"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/unet"
	"github.com/atelier-go/atelier/vae"
)

// TestArenaSD15 plans the programs of a guided 512×512 picture of Stable Diffusion 1.5, for which no weights are needed.
func TestArenaSD15(t *testing.T) {
	text, err1 := clip.New(clip.SD15(), nil)
	net, err2 := unet.New(unet.SD15(), nil)
	codec, err3 := vae.New(vae.SD15(), nil)
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	networks := &engine.Networks{Tokenizer: clip.Default(), Text: text, UNet: net, VAE: codec}
	for _, c := range []struct {
		name string
		key  engine.Key
		most int // MiB: what is alive at once by model.md's table of activations, with some air
	}{
		{"text encoder", engine.TextKey{Sequences: 2}, 4},
		{"context", engine.ContextKey{Samples: 2, Tokens: 77}, 16},
		// At 64×64: 25 MiB of skip connections a sample, the 40 MiB of a GEGLU, and a few feature maps of 5 MiB.
		{"step", stepKey{batch: 1, height: 64, width: 64, predictions: 2, tokens: 77, slots: 2}, 200},
		// At 512×512: 256 channels and 128 of them, 256 + 128 MiB, twice 128 beside.
		{"decode", engine.DecodeKey{Height: 64, Width: 64}, 640},
	} {
		program, err := networks.Record(c.key)
		if err != nil {
			t.Fatal(err)
		}
		size := float64(compute.Plan(program, nil).Size) / (1 << 20)
		t.Logf("%s: %d ops, %.1f MiB, %.3f TFLOP", c.name, len(program.Nodes), size, float64(program.TotalFLOPs())/1e12)
		if size > float64(c.most) {
			t.Errorf("%s: %.1f MiB at once, want at most %d", c.name, size, c.most)
		}
	}
}

// TestMemory compares the report made beforehand with what the compiled programs hold.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: pictures one after the other")
	}
	golden.ForEach(t, func(t *testing.T, k golden.Kit, dev compute.Device) {
		golden.OneOnRef(t, k, dev)
		for name, change := range map[string]func(*Request){
			"plain":      func(*Request) {},
			"more slots": func(r *Request) { r.Sampler, r.Steps = sampler.LMS, 5 },
			"unguided":   func(r *Request) { r.Guidance = new(1.0) },
			"NGMS":       func(r *Request) { r.Speed.MinUncond, r.Speed.DeepCache.Interval = 100, 2 },
			"batch":      func(r *Request) { r.BatchSize = 3 },
			"two chunks": func(r *Request) { r.Prompt = strings.Repeat("very long, ", 30) },
		} {
			p := openKit(t, k, dev)
			request := small(change)
			want, err := p.Memory(request)
			if err != nil {
				t.Fatal(err)
			}
			generate(t, p, request)
			if got := p.cache.Usage().MemoryReport; got != want {
				t.Errorf("%s: %+v is held, %+v was announced", name, got, want)
			}
		}
	})
}
