package clip_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/golden"
)

// TestSequencesAreIndependent runs sequences alone and together, and beginnings of sequences: attention is causal, so
// what follows changes nothing.
func TestSequencesAreIndependent(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the text model runs in TestGolden")
	}
	golden.ForEach(t, func(t *testing.T, k golden.Kit, dev compute.Device) {
		m, params := openModel(t, k)
		ids := k.Load(t, "clip").Tensor(t, "input_ids")
		encode := func(ids []int32, sequences int) []float32 {
			var b compute.Builder
			b.Output(m.Forward(&b, b.Input("input_ids", compute.I32, sequences, len(ids)/sequences), 0))
			return golden.Run(t, dev, params, &b, ids)[0]
		}
		together := encode(ids.Int32(), ids.Shape[0])
		size := len(together) / ids.Shape[0]
		for n := range ids.Shape[0] {
			alone := encode(ids.Sample(n).Int32(), 1)
			if d := golden.Compare(together[n*size:][:size], alone); !(d.Relative <= 1e-5) {
				t.Errorf("sequence %d in a batch and alone: %v", n, d)
			}
			for _, length := range []int{1, 5, ids.Shape[1] - 1} {
				beginning := encode(ids.Sample(n).Int32()[:length], 1)
				if d := golden.Compare(beginning, alone[:len(beginning)]); !(d.Relative <= 1e-5) {
					t.Errorf("the first %d tokens of sequence %d: %v", length, n, d)
				}
			}
		}
		changed := slices.Clone(ids.Sample(0).Int32())
		changed[1] = (changed[1] + 1) % int32(m.Config().VocabSize)
		if slices.Equal(encode(changed, 1), together[:size]) {
			t.Error("another token makes no difference")
		}
	})
}

func TestForwardErrors(t *testing.T) {
	m, err := clip.New(clip.SD15(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		shape []int
		skip  int
		say   string
	}{
		{"negative skip", []int{1, 77}, -1, "skipping -1 of 12 layers"},
		{"nothing left", []int{1, 77}, 12, "skipping 12 of 12 layers"},
		{"too long", []int{1, 78}, 0, "text_model.embeddings"},
		{"one axis", []int{77}, 0, "text_model.embeddings"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b compute.Builder
			b.Output(m.Forward(&b, b.Input("input_ids", compute.I32, c.shape...), c.skip))
			if _, err := b.Build(); err == nil || !strings.Contains(err.Error(), c.say) {
				t.Errorf("the error is %v, want %q in it", err, c.say)
			}
		})
	}
}
