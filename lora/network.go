package lora

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/rng"
	"github.com/atelier-go/atelier/weights"
)

// Network says which layers get factors to train, in the options of sd-scripts' networks.lora: every linear layer and
// 1×1 convolution of the text encoder's layers and of the UNet's transformers. Stable Diffusion 1.5 has 72 and 192.
type Network struct {
	Dim   int     // rank, "network_dim"; 0 means 4
	Alpha float64 // "network_alpha": changes are scaled by Alpha/Dim; 0 means Dim
	// ConvDim, if not 0, is the rank of factors for the UNet's 3×3 convolutions, "conv_dim". The other layers of its resnets
	// then get factors of rank Dim: 86 modules more.
	ConvDim   int
	ConvAlpha float64 // "conv_alpha"; 0 means ConvDim
	// TextEncoderOnly and UNetOnly leave out the other network, "network_train_text_encoder_only" and
	// "network_train_unet_only".
	TextEncoderOnly, UNetOnly bool
	// RankDropout and ModuleDropout are the probabilities that a batch is learned without a rank of a module, for each sample
	// anew, or without a module, "rank_dropout" and "module_dropout".
	RankDropout, ModuleDropout float64
}

// maxDim bounds ranks: beyond it an adapter is larger than the layers it changes.
const maxDim = 4096

// Check reports what is wrong with the options, all of it.
func (n Network) Check() error {
	var errs []error
	for _, c := range []struct {
		option string
		dim    int
	}{{"network_dim", n.Dim}, {"conv_dim", n.ConvDim}} {
		if c.dim < 0 || c.dim > maxDim {
			errs = append(errs, fmt.Errorf("lora: %s is %d, want 1 to %d; 16 is usual", c.option, c.dim, maxDim))
		}
	}
	for _, c := range []struct {
		option string
		alpha  float64
	}{{"network_alpha", n.Alpha}, {"conv_alpha", n.ConvAlpha}} {
		if !(c.alpha >= 0) || math.IsInf(c.alpha, 0) {
			errs = append(errs, fmt.Errorf("lora: %s is %v, want a positive number such as the rank", c.option, c.alpha))
		}
	}
	if !(n.RankDropout >= 0 && n.RankDropout < 1 && n.ModuleDropout >= 0 && n.ModuleDropout < 1) {
		errs = append(errs, fmt.Errorf("lora: rank_dropout is %v and module_dropout %v, want 0 to below 1", n.RankDropout, n.ModuleDropout))
	}
	if n.TextEncoderOnly && n.UNetOnly {
		errs = append(errs, errors.New("lora: network_train_text_encoder_only and network_train_unet_only exclude each other; want one of them"))
	}
	return errors.Join(errs...)
}

// New makes the network's modules as training starts with them: A uniform in ±1/√(columns), which is Kaiming's with
// slope √5, and B zero, so that nothing changes yet. The numbers follow from seed.
func (n Network) New(t *Targets, seed uint64) ([]Module, error) {
	if err := n.Check(); err != nil {
		return nil, err
	}
	draw := rng.NewTorch(seed)
	var modules []Module
	for _, target := range t.list {
		dim, alpha := n.rank(target)
		if dim == 0 {
			continue
		}
		m := Module{Target: target, Alpha: alpha}
		m.Down.Shape = append(compute.Shape{dim}, target.Shape[1:]...)
		m.Up.Shape = compute.Shape{target.Shape[0], dim, 1, 1}[:len(target.Shape)]
		m.Down.Data, m.Up.Data = make([]float32, m.Down.Shape.Elements()), make([]float32, m.Up.Shape.Elements())
		draw.Uniform(m.Down.Data)
		bound := float32(1 / math.Sqrt(float64(target.columns())))
		for i, v := range m.Down.Data {
			m.Down.Data[i] = (2*v - 1) * bound
		}
		modules = append(modules, m)
	}
	return modules, nil
}

// rank is the rank and alpha of a target's factors; rank 0 is none.
func (n Network) rank(t Target) (dim int, alpha float64) {
	in := func(parts ...string) bool {
		for _, part := range parts {
			if strings.Contains(t.Name, part) {
				return true
			}
		}
		return false
	}
	switch {
	case t.Kind == weights.KindTextEncoder && (n.UNetOnly || !in(".self_attn.", ".mlp.")):
		return 0, 0
	case t.Kind == weights.KindUNet && (n.TextEncoderOnly || !in(".attentions.", ".resnets.", ".downsamplers.", ".upsamplers.")):
		return 0, 0
	case t.Kind == weights.KindUNet && !in(".attentions.") && n.ConvDim == 0:
		return 0, 0
	case len(t.Shape) == 4 && t.Shape[2:].Elements() > 1:
		dim, alpha = n.ConvDim, n.ConvAlpha
	default:
		dim, alpha = n.Dim, n.Alpha
		if dim == 0 {
			dim = 4
		}
	}
	if alpha == 0 {
		alpha = float64(dim)
	}
	return dim, alpha
}

// dropout draws what the ranks of each module are multiplied with for a batch; nil without dropout. What is left of a
// module's ranks grows by as much as is dropped on average, what is left of the modules does not.
func (n Network) dropout(modules []Module, samples int, r *rng.Torch) (all [][]float32) {
	if n.RankDropout == 0 && n.ModuleDropout == 0 {
		return nil
	}
	for i := range modules {
		skip := uniform(r) < n.ModuleDropout
		ranks := make([]float32, samples*modules[i].Rank())
		r.Uniform(ranks)
		for j, u := range ranks {
			ranks[j] = 0
			if !skip && float64(u) >= n.RankDropout {
				ranks[j] = float32(1 / (1 - n.RankDropout))
			}
		}
		all = append(all, ranks)
	}
	return all
}
