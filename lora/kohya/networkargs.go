package kohya

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/internal/python"
	"github.com/atelier-go/atelier/lora"
)

// networkArguments are those of sd-scripts' networks.lora.
var networkArguments = []option{
	{name: "conv_dim", field: "Network.ConvDim", kind: count(0), gui: basic(32, "Convolution Rank (Dimension)")},
	{name: "conv_alpha", field: "Network.ConvAlpha", kind: number, gui: basic(33, "Convolution Alpha")},
	{name: "rank_dropout", field: "Network.RankDropout", kind: number, gui: basic(36, "Rank dropout")},
	{name: "module_dropout", field: "Network.ModuleDropout", kind: number, gui: basic(37, "Module dropout")},
	{name: "loraplus_lr_ratio", field: "Trainer.LoRAPlusRatio", kind: number, gui: basic(27, "LoRA+ learning rate ratio")},
	{name: "loraplus_unet_lr_ratio", field: "Trainer.LoRAPlusUNetRatio", kind: number, gui: basic(28, "LoRA+ Unet learning rate ratio")},
	{name: "loraplus_text_encoder_lr_ratio", field: "Trainer.LoRAPlusTextEncoderRatio", kind: number, gui: basic(29, "LoRA+ Text Encoder learning rate ratio")},
	{name: "block_dims", field: "Network.BlockDims", kind: listOf[int](count(0)), gui: blocks(5, "Block dims")},
	{name: "block_alphas", field: "Network.BlockAlphas", kind: listOf[float64](number), gui: blocks(6, "Block alphas")},
	{name: "conv_block_dims", field: "Network.ConvBlockDims", kind: listOf[int](count(0)), gui: blocks(7, "Conv dims")},
	{name: "conv_block_alphas", field: "Network.ConvBlockAlphas", kind: listOf[float64](number), gui: blocks(8, "Conv alphas")},
	{name: "down_lr_weight", field: "DownLRWeight", kind: text, gui: blocks(1, "Down LR weights")},
	{name: "mid_lr_weight", field: "MidLRWeight", kind: text, gui: blocks(2, "Mid LR weights")},
	{name: "up_lr_weight", field: "UpLRWeight", kind: text, gui: blocks(3, "Up LR weights")},
	{name: "block_lr_zero_threshold", field: "BlockLRZeroThreshold", kind: number, gui: blocks(4, "Blocks LR zero threshold")},
}

func argumentNames() []string {
	names := make([]string, len(networkArguments))
	for i, a := range networkArguments {
		names[i] = a.name
	}
	return names
}

// literal is a value that is written as Python does, without its quotes and brackets; "" is None. What is no literal of
// Python's stays as it is: zeros of down_lr_weight=zeros.
func literal(text string) string {
	value, err := python.Parse(text)
	if err != nil {
		return strings.TrimSpace(text)
	}
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	var texts []string
	for _, element := range list {
		if element != nil {
			texts = append(texts, fmt.Sprint(element))
		}
	}
	return strings.Join(texts, ",")
}

// readNetworkArgs puts network_args where they belong. Without conv_alpha it is 1, as there.
func (s *settings) readNetworkArgs() error {
	var errs []error
	given := make(map[string]bool)
	for _, arg := range s.NetworkArgs {
		name, value, ok := strings.Cut(arg, "=")
		if name = strings.TrimSpace(name); !ok {
			errs = append(errs, fmt.Errorf("kohya: network_args has %.60q, want NAME=VALUE such as conv_dim=4", arg))
			continue
		}
		at := slices.IndexFunc(networkArguments, func(a option) bool { return a.name == name })
		if at < 0 {
			errs = append(errs, unknown(argumentNames(), name, "kohya: network_args has no %.60q", name))
			continue
		}
		value = literal(value)
		if given[name] = value != ""; !given[name] {
			continue
		}
		if err := networkArguments[at].put(s, []string{value}); err != nil {
			errs = append(errs, fmt.Errorf("kohya: network_args: %s %w", name, err))
		}
	}
	if (given["conv_dim"] || given["conv_block_dims"]) && !given["conv_alpha"] {
		s.Network.ConvAlpha = 1
	}
	weights, err := lora.ParseBlockLRWeights(s.DownLRWeight, s.MidLRWeight, s.UpLRWeight, s.BlockLRZeroThreshold)
	if err != nil {
		errs = append(errs, fmt.Errorf("kohya: network_args: %w", err))
	}
	s.Network.BlockLRWeight = weights
	return errors.Join(errs...)
}
