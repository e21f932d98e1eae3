package lora

import (
	"errors"
	"fmt"
	"strings"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/unet"
	"github.com/atelier-go/atelier/weights"
)

// Target is a parameter that an adapter can change: the weight of a linear layer, a convolution, an embedding or a norm, or
// the bias of one.
type Target struct {
	Kind  weights.Kind  // KindTextEncoder or KindUNet
	Name  string        // the module, in diffusers' words: "mid_block.attentions.0.proj_in"
	Shape compute.Shape // the shape of the parameter: [out,in], [out,in,kh,kw], or [n] of a bias or norm
	Bias  bool          // the module's bias rather than its weight
}

// Param is the name of the target among the network's parameters.
func (t Target) Param() string {
	if t.Bias {
		return t.Name + ".bias"
	}
	return t.Name + ".weight"
}

// Key is the module's name in kohya's files: "lora_unet_mid_block_attentions_0_proj_in".
func (t Target) Key() string {
	if t.Kind == weights.KindTextEncoder {
		return "lora_te_" + flatten(t.Name)
	}
	return "lora_unet_" + flatten(t.Name)
}

// columns is the length of the weight's rows: in·kh·kw.
func (t Target) columns() int { return t.Shape[1:].Elements() }

// Targets are all targets of a model, with every name they go by in adapter files.
type Targets struct {
	list   []Target // that are matrices
	layers []layer
	index  map[weights.Kind]map[string]int // flattened names, with their places in layers
}

// layer is a module of a model with its parameters; those it has not have no Shape.
type layer struct{ weight, bias Target }

// isMatrix reports whether the layer is one that low-rank changes are for.
func (l layer) isMatrix() bool { return len(l.weight.Shape) >= 2 }

// NewTargets lists the targets of the model with these networks, by asking the networks for their parameters. Stable
// Diffusion 1.5 has 282 in the UNet and 74 in the text encoder.
func NewTargets(text clip.Config, net unet.Config) (*Targets, error) {
	t := &Targets{index: make(map[weights.Kind]map[string]int)}
	if _, err := clip.New(text, collector{weights.KindTextEncoder, t}); err != nil {
		return nil, err
	}
	if _, err := unet.New(net, collector{weights.KindUNet, t}); err != nil {
		return nil, err
	}
	return t, nil
}

// All lists the targets that are matrices or convolutions, the text encoder's first, in the order of the networks.
func (t *Targets) All() []Target { return append([]Target(nil), t.list...) }

// find looks a module up by any of its names, dotted or flattened, in the networks that it may belong to.
func (t *Targets) find(name string, kinds ...weights.Kind) (i int, ok bool) {
	name = flatten(name)
	for _, kind := range kinds {
		if i, ok = t.index[kind][name]; ok {
			return i, true
		}
	}
	return 0, false
}

// TargetsOf lists the targets of a checkpoint's text encoder and UNet, and makes sure that it has all their parameters.
func TargetsOf(c *weights.Checkpoint) (*Targets, error) {
	text, err := c.TextEncoder()
	if err != nil {
		return nil, err
	}
	net, err := c.UNet()
	if err != nil {
		return nil, err
	}
	textConfig, err := clip.ParseConfig(text.Config())
	if err != nil {
		return nil, fmt.Errorf("lora: %s: %w", c.Path(), err)
	}
	netConfig, err := unet.ParseConfig(net.Config())
	if err != nil {
		return nil, fmt.Errorf("lora: %s: %w", c.Path(), err)
	}
	if _, err := clip.New(textConfig, text); err != nil {
		return nil, err
	}
	if _, err := unet.New(netConfig, net); err != nil {
		return nil, err
	}
	if err := errors.Join(text.Err(), net.Err()); err != nil {
		return nil, err
	}
	return NewTargets(textConfig, netConfig)
}

// collector notes the parameters that a network claims. It is an nn.Claimer.
type collector struct {
	kind    weights.Kind
	targets *Targets
}

// Claim notes a parameter with its layer, and every name that the layer goes by. A name that a norm shares with another
// layer means the other.
func (c collector) Claim(name string, shape ...int) {
	dot, t := max(strings.LastIndexByte(name, '.'), 0), c.targets
	target := Target{Kind: c.kind, Name: name[:dot], Shape: append(compute.Shape(nil), shape...), Bias: name[dot:] == ".bias"}
	if t.index[c.kind] == nil {
		t.index[c.kind] = make(map[string]int)
	}
	index := t.index[c.kind]
	at, known := index[flatten(target.Name)]
	if known = known && t.layers[at].name() == target.Name; !known {
		at = len(t.layers)
		t.layers = append(t.layers, layer{})
	}
	if target.Bias {
		t.layers[at].bias = target
	} else {
		t.layers[at].weight = target
	}
	if t.layers[at].isMatrix() && !target.Bias {
		t.list = append(t.list, target)
	}
	for _, spelling := range target.spellings() {
		if have, taken := index[flatten(spelling)]; !taken || !t.layers[have].isMatrix() {
			index[flatten(spelling)] = at
		}
	}
}

// name is the module's.
func (l layer) name() string {
	if l.weight.Shape == nil {
		return l.bias.Name
	}
	return l.weight.Name
}

// older pairs the end of a module's name with how files of other ages and tools end it.
var older = map[weights.Kind][]struct{ now, then string }{
	weights.KindUNet: {
		{".to_out.0", ".to_out"},
		{".to_q", ".processor.to_q"}, {".to_k", ".processor.to_k"}, {".to_v", ".processor.to_v"}, {".to_out.0", ".processor.to_out"},
	},
	weights.KindTextEncoder: {{".q_proj", ".to_q"}, {".k_proj", ".to_k"}, {".v_proj", ".to_v"}, {".out_proj", ".to_out"}},
}

// spellings lists the names a module goes by, its own first.
func (t Target) spellings() []string {
	names := []string{t.Name, t.Kind.LDM(t.Name)}
	if t.Kind == weights.KindTextEncoder { // transformers 5 drops the outermost module
		names = append(names, strings.TrimPrefix(t.Name, "text_model."))
	}
	for _, name := range names {
		for _, o := range older[t.Kind] {
			if stem, ok := strings.CutSuffix(name, o.now); ok {
				names = append(names, stem+o.then)
			}
		}
	}
	return names
}

func flatten(name string) string { return strings.ReplaceAll(name, ".", "_") }
