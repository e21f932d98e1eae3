package engine

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/weights"
)

// Key is all that a program depends on besides the networks: a comparable value that records it.
type Key interface {
	// Network is the network whose parameters the program reads.
	Network() weights.Kind
	// Record records the program. Mistakes stay in the Recorder.
	Record(r *Recorder, n *Networks)
}

// Recorder records a program whose outputs have names, as inputs do.
type Recorder struct {
	compute.Builder
	outputs []string
}

// Output makes v a result of the program, under a name. An input may have the same name, as when a run moves a tensor on.
func (r *Recorder) Output(name string, v compute.Value) {
	r.Builder.Output(v)
	r.outputs = append(r.outputs, name)
}

// Record is the program of a key. Its outputs have their names in Program.Values.
func (n *Networks) Record(k Key) (*compute.Program, error) {
	var r Recorder
	k.Record(&r, n)
	p, err := r.Build()
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	for i, v := range p.Outputs {
		p.Values[v.Index()].Name = r.outputs[i]
	}
	for _, values := range [][]compute.Value{p.Inputs, p.Outputs} {
		if err := distinct(p, values); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// distinct refuses two values of one name: nobody could say which is meant.
func distinct(p *compute.Program, values []compute.Value) error {
	seen := make(map[string]bool)
	for _, v := range values {
		name := p.Values[v.Index()].Name
		if seen[name] {
			return fmt.Errorf("engine: a program has two inputs or two outputs called %q", name)
		}
		seen[name] = true
	}
	return nil
}

// TextKey is the text encoder, without its last Skipped layers: token ids "input_ids", [Sequences,T], become
// "last_hidden_state", [Sequences,T,C]. With Added there is a third tensor, "added", [Sequences,T,C], for what embeddings add to the
// vectors of tokens.
type TextKey struct {
	Sequences, Skipped int
	Added              bool
}

// Network implements Key.
func (TextKey) Network() weights.Kind { return weights.KindTextEncoder }

// Record implements Key.
func (k TextKey) Record(r *Recorder, n *Networks) {
	ids := r.Input("input_ids", compute.I32, k.Sequences, n.Tokenizer.MaxLength())
	var added compute.Value
	if k.Added {
		added = r.Input("added", compute.F32, k.Sequences, n.Tokenizer.MaxLength(), n.Text.Config().HiddenSize)
	}
	r.Output("last_hidden_state", n.Text.ForwardAdded(&r.Builder, ids, added, k.Skipped))
}

// ContextKey is what the UNet makes of texts once: "encoder_hidden_states", [Samples,Tokens,C], become keys "k.i" and values
// "v.i" of each cross-attention i.
type ContextKey struct{ Samples, Tokens int }

// Network implements Key.
func (ContextKey) Network() weights.Kind { return weights.KindUNet }

// Record implements Key.
func (k ContextKey) Record(r *Recorder, n *Networks) {
	context := r.Input("encoder_hidden_states", compute.F32, k.Samples, k.Tokens, n.UNet.Config().CrossAttentionDim)
	for i, kv := range n.UNet.ContextProjections(&r.Builder, context) {
		k, v := ContextNames(i)
		r.Output(k, kv.K)
		r.Output(v, kv.V)
	}
}

// ContextNames are the names of the keys and of the values of cross-attention i.
func ContextNames(i int) (k, v string) { return fmt.Sprintf("k.%d", i), fmt.Sprintf("v.%d", i) }

// DecodeKey is the VAE's decoder: "latents", [1,Height,Width,C], not scaled, become "image", [1,8·Height,8·Width,3] in [-1,1].
type DecodeKey struct{ Height, Width int }

// Network implements Key.
func (DecodeKey) Network() weights.Kind { return weights.KindVAE }

// Record implements Key.
func (k DecodeKey) Record(r *Recorder, n *Networks) {
	latents := r.Input("latents", compute.F32, 1, k.Height, k.Width, n.LatentChannels())
	r.Output("image", n.VAE.Decode(&r.Builder, latents))
}

// EncodeKey is the VAE's encoder: "image", [1,Height,Width,3] in [-1,1], becomes "moments", [1,Height/8,Width/8,2·C].
type EncodeKey struct{ Height, Width int }

// Network implements Key.
func (EncodeKey) Network() weights.Kind { return weights.KindVAE }

// Record implements Key.
func (k EncodeKey) Record(r *Recorder, n *Networks) {
	image := r.Input("image", compute.F32, 1, k.Height, k.Width, n.VAE.Config().InChannels)
	r.Output("moments", n.VAE.Encode(&r.Builder, image))
}
