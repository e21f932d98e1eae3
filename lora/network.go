package lora

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/atelier-go/atelier/internal/rng"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/weights"
)

// Network says which layers get factors to train, in the options of sd-scripts' networks.lora: every linear layer and
// 1×1 convolution of the text encoder's layers and of the UNet's transformers. Stable Diffusion 1.5 has 72 and 192.
type Network struct {
	Dim   int     `json:"network_dim"`   // rank, "network_dim"; 0 means 4
	Alpha float64 `json:"network_alpha"` // "network_alpha": changes are scaled by Alpha/Dim; 0 means Dim
	// ConvDim, if not 0, is the rank of factors for the UNet's 3×3 convolutions, "conv_dim". The other layers of its resnets
	// then get factors of rank Dim: 86 modules more.
	ConvDim   int     `json:"conv_dim"`
	ConvAlpha float64 `json:"conv_alpha"` // "conv_alpha"; 0 means ConvDim
	// TextEncoderOnly and UNetOnly leave out the other network, "network_train_text_encoder_only" and
	// "network_train_unet_only".
	TextEncoderOnly bool `json:"network_train_text_encoder_only"`
	UNetOnly        bool `json:"network_train_unet_only"`
	// BlockDims and BlockAlphas are Dim and Alpha for each of the UNet's 25 blocks, "block_dims" and "block_alphas", and
	// ConvBlockDims and ConvBlockAlphas are ConvDim and ConvAlpha; nil for the same in all. A rank of 0 is no module.
	BlockDims       []int     `json:"block_dims"`
	ConvBlockDims   []int     `json:"conv_block_dims"`
	BlockAlphas     []float64 `json:"block_alphas"`
	ConvBlockAlphas []float64 `json:"conv_block_alphas"`
	// BlockLRWeight multiplies the learning rate in each of the UNet's 25 blocks, as [ParseBlockLRWeights] reads it; nil for
	// ones. Where it is 0 there are no modules.
	BlockLRWeight []float64 `json:"block_lr_weight"`
	// Dropout is the probability that a batch is learned without a number that a down factor gives, "network_dropout". What
	// is left grows by as much as is dropped on average.
	Dropout float64 `json:"network_dropout"`
	// RankDropout and ModuleDropout are the probabilities that a batch is learned without a rank of a module, for each sample
	// anew, or without a module, "rank_dropout" and "module_dropout".
	RankDropout   float64 `json:"rank_dropout"`
	ModuleDropout float64 `json:"module_dropout"`
}

// maxDim bounds ranks: beyond it an adapter is larger than the layers it changes.
const maxDim = 4096

// Check reports what is wrong with the options, all of it, as [invalid.FieldError]s of a Network.
func (n Network) Check() error {
	var errs []error
	check := func(field string, v any, ok bool, want string, args ...any) {
		if !ok {
			errs = append(errs, invalid.Field("Network."+field, v, want, args...))
		}
	}
	rank := func(field string, dim int) {
		check(field, dim, dim >= 0 && dim <= maxDim, "1 to %d; 16 is usual", maxDim)
	}
	factor := func(field string, v float64) {
		check(field, v, v >= 0 && !math.IsInf(v, 0), "a number of 0 or more")
	}
	probability := func(field string, p float64) { check(field, p, p >= 0 && p < 1, "0 to below 1") }
	rank("Dim", n.Dim)
	rank("ConvDim", n.ConvDim)
	factor("Alpha", n.Alpha)
	factor("ConvAlpha", n.ConvAlpha)
	errs = append(errs, checkBlocks("BlockDims", n.BlockDims, rank), checkBlocks("ConvBlockDims", n.ConvBlockDims, rank),
		checkBlocks("BlockAlphas", n.BlockAlphas, factor), checkBlocks("ConvBlockAlphas", n.ConvBlockAlphas, factor), checkBlocks("BlockLRWeight", n.BlockLRWeight, factor))
	if len(n.BlockAlphas) > len(n.BlockDims) {
		errs = append(errs, invalid.Field("Network.BlockDims", nil, "ranks to the alphas of Network.BlockAlphas"))
	}
	if len(n.ConvBlockAlphas) > len(n.ConvBlockDims) {
		errs = append(errs, invalid.Field("Network.ConvBlockDims", nil, "ranks to the alphas of Network.ConvBlockAlphas"))
	}
	probability("Dropout", n.Dropout)
	probability("RankDropout", n.RankDropout)
	probability("ModuleDropout", n.ModuleDropout)
	if n.TextEncoderOnly && n.UNetOnly {
		errs = append(errs, invalid.Field("Network.TextEncoderOnly", true, "false, or Network.UNetOnly false: something is to be trained"))
	}
	return errors.Join(errs...)
}

// checkBlocks reports a list for the UNet's blocks that is not of their number, and each number that is refused.
func checkBlocks[T any](field string, list []T, check func(string, T)) error {
	for i, v := range list {
		check(fmt.Sprintf("%s[%d]", field, i), v)
	}
	if n := len(list); n != 0 && n != Blocks {
		return invalid.Field("Network."+field, nil, "%d values, not %d: 12 on the way down, the middle, 12 on the way up", Blocks, n)
	}
	return nil
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
		l := newLowRank(target, dim)
		l.Alpha = alpha
		draw.Uniform(l.Down.Data)
		bound := float32(1 / math.Sqrt(float64(target.columns())))
		for i, v := range l.Down.Data {
			l.Down.Data[i] = (2*v - 1) * bound
		}
		modules = append(modules, Module{target, l})
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
	case t.Kind == weights.KindUNet && !in(".attentions.") && n.ConvDim == 0 && len(n.ConvBlockDims) == 0:
		return 0, 0
	}
	convolution, block := len(t.Shape) == 4 && t.Shape[2:].Elements() > 1, t.Block()
	if block >= 0 && len(n.BlockLRWeight) > 0 && n.BlockLRWeight[block] == 0 {
		return 0, 0
	}
	dims, alphas := n.BlockDims, n.BlockAlphas
	if dim, alpha = n.Dim, n.Alpha; dim == 0 {
		dim = 4
	}
	if convolution {
		dim, alpha, dims, alphas = n.ConvDim, n.ConvAlpha, n.ConvBlockDims, n.ConvBlockAlphas
	}
	if block >= 0 && len(dims) > 0 {
		dim = dims[block]
	}
	if block >= 0 && len(alphas) > 0 {
		alpha = alphas[block]
	}
	if alpha == 0 {
		alpha = float64(dim)
	}
	return dim, alpha
}
