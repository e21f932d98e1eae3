package kohya

import (
	"errors"
	"fmt"
	"strings"

	"github.com/atelier-go/atelier/internal/python"
	"github.com/atelier-go/atelier/lora"
)

// networkArgument is an entry of network_args.
type networkArgument struct {
	name  string
	place place
}

// networkArguments are those of sd-scripts' networks.lora.
var networkArguments = []networkArgument{
	{"conv_dim", count(0, func(s *settings) *int { return &s.Network.ConvDim })},
	{"conv_alpha", number(func(s *settings) *float64 { return &s.Network.ConvAlpha })},
	{"rank_dropout", number(func(s *settings) *float64 { return &s.Network.RankDropout })},
	{"module_dropout", number(func(s *settings) *float64 { return &s.Network.ModuleDropout })},
	{"loraplus_lr_ratio", number(func(s *settings) *float64 { return &s.Trainer.LoRAPlusRatio })},
	{"loraplus_unet_lr_ratio", number(func(s *settings) *float64 { return &s.Trainer.LoRAPlusUNetRatio })},
	{"loraplus_text_encoder_lr_ratio", number(func(s *settings) *float64 { return &s.Trainer.LoRAPlusTextEncoderRatio })},
	{"block_dims", dims(func(s *settings) *[]int { return &s.Network.BlockDims })},
	{"block_alphas", alphas(func(s *settings) *[]float64 { return &s.Network.BlockAlphas })},
	{"conv_block_dims", dims(func(s *settings) *[]int { return &s.Network.ConvBlockDims })},
	{"conv_block_alphas", alphas(func(s *settings) *[]float64 { return &s.Network.ConvBlockAlphas })},
	{"down_lr_weight", text(func(s *settings) *string { return &s.downLRWeight })},
	{"mid_lr_weight", text(func(s *settings) *string { return &s.midLRWeight })},
	{"up_lr_weight", text(func(s *settings) *string { return &s.upLRWeight })},
	{"block_lr_zero_threshold", number(func(s *settings) *float64 { return &s.blockLRZeroThreshold })},
}

// argumentNames lists them.
func argumentNames() string { return strings.Join(networkArgumentNames(), ", ") }

func networkArgumentNames() []string {
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
	for _, arg := range s.networkArgs {
		name, value, ok := strings.Cut(arg, "=")
		if name = strings.TrimSpace(name); !ok {
			errs = append(errs, fmt.Errorf("kohya: network_args has %.60q, want NAME=VALUE such as conv_dim=4", arg))
			continue
		}
		known := false
		for _, a := range networkArguments {
			if a.name != name {
				continue
			}
			known = true
			value := literal(value)
			if given[name] = value != ""; !given[name] {
				continue
			}
			if err := a.place.put(s, []string{value}); err != nil {
				errs = append(errs, fmt.Errorf("kohya: network_args: %s %w", name, err))
			}
		}
		if !known {
			errs = append(errs, unknown(networkArgumentNames(), name, "kohya: network_args has no %.60q", name))
		}
	}
	if (given["conv_dim"] || given["conv_block_dims"]) && !given["conv_alpha"] {
		s.Network.ConvAlpha = 1
	}
	weights, err := lora.ParseBlockLRWeights(s.downLRWeight, s.midLRWeight, s.upLRWeight, s.blockLRZeroThreshold)
	if err != nil {
		errs = append(errs, fmt.Errorf("kohya: network_args: %w", err))
	}
	s.Network.BlockLRWeight = weights
	return errors.Join(errs...)
}
