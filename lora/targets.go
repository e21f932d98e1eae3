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

// Target is a weight that an adapter can change: that of a linear layer, a convolution or an embedding.
type Target struct {
	Kind  weights.Kind  // KindTextEncoder or KindUNet
	Name  string        // of the module, in diffusers' words: "mid_block.attentions.0.proj_in"
	Shape compute.Shape // of its weight: [out,in] or [out,in,kh,kw]
}

// Param is the name of the target's weight among the network's parameters.
func (t Target) Param() string { return t.Name + ".weight" }

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
	list  []Target
	index map[weights.Kind]map[string]int // of a flattened name in list, noTarget for modules that are none
}

// noTarget stands for the modules of a model whose parameters are no matrices: norms.
const noTarget = -1

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

// All lists the targets, the text encoder's first, in the order of the networks.
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

// collector notes the weights that a network claims. It is an nn.Claimer.
type collector struct {
	kind    weights.Kind
	targets *Targets
}

// Claim notes the module of a parameter, and adds it to the targets if it is a matrix or a convolution's weight.
func (c collector) Claim(name string, shape ...int) {
	dot := max(strings.LastIndexByte(name, '.'), 0)
	target, t, at := Target{c.kind, name[:dot], append(compute.Shape(nil), shape...)}, c.targets, noTarget
	if name[dot:] == ".weight" && len(shape) >= 2 {
		at = len(t.list)
		t.list = append(t.list, target)
	}
	if t.index[c.kind] == nil {
		t.index[c.kind] = make(map[string]int)
	}
	for _, spelling := range target.spellings() {
		if have, taken := t.index[c.kind][flatten(spelling)]; !taken || have == noTarget {
			t.index[c.kind][flatten(spelling)] = at
		}
	}
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
