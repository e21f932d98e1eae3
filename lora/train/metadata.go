package train

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/internal/python"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/weights"
)

// describe makes the metadata that do not change while training: those of sd-scripts' train_network.py.
func (r *run) describe(ctx context.Context) error {
	m := map[string]any{"ss_session_id": r.session, "ss_training_started_at": seconds(r.started)}
	r.describeTraining(m)
	r.describeNoise(m)
	describeDataset(m, r.config.Dataset, r.dataset.Report())
	m["modelspec.title"] = r.config.OutputName
	m["modelspec.prediction_type"] = "epsilon"
	if r.config.Trainer.VParameterization {
		m["modelspec.prediction_type"] = "v"
	}
	if n := r.config.Trainer.ClipSkip; n > 0 {
		m["modelspec.encoder_layer"] = n
	}
	if low, high := r.config.Noise.MinTimestep, r.config.Noise.MaxTimestep; low != 0 || high != 0 {
		if high == 0 {
			high = trainSteps
		}
		m["modelspec.timestep_range"] = fmt.Sprintf("%d,%d", low, high)
	}
	if err := r.describeCheckpoint(ctx, m); err != nil {
		return err
	}
	r.base = make(map[string]string)
	for key, value := range m {
		r.base[key] = python.String(value)
	}
	lora.Specify(r.base)
	maps.Copy(r.base, r.config.Metadata)
	return nil
}

// metadata are those of a file that is saved now.
func (r *run) metadata(epoch int) map[string]string {
	m, now := maps.Clone(r.base), time.Now()
	m["ss_training_finished_at"], m["modelspec.date"] = python.String(seconds(now)), now.Format("2006-01-02T15:04:05")
	m["ss_steps"], m["ss_epoch"] = strconv.Itoa(r.at.Step), strconv.Itoa(epoch)
	return m
}

func (r *run) describeTraining(m map[string]any) {
	o, steps := r.config.Trainer, r.dataset.Steps()
	m["ss_output_name"], m["ss_training_comment"] = r.config.OutputName, optional(r.config.TrainingComment)
	m["ss_learning_rate"], m["ss_text_encoder_lr"], m["ss_unet_lr"] = optional(r.config.LearningRate), optional(r.config.TextEncoderLR), optional(r.config.UNetLR)
	m["ss_num_epochs"], m["ss_max_train_steps"], m["ss_num_batches_per_epoch"] = steps.Epochs, steps.Total, steps.BatchesPerEpoch
	m["ss_gradient_checkpointing"], m["ss_gradient_accumulation_steps"] = o.Checkpointing, max(1, o.Accumulation)
	m["ss_lr_warmup_steps"], m["ss_lr_scheduler"] = numeric(r.config.LRWarmupSteps), "constant"
	if r.config.LRScheduler != "" {
		m["ss_lr_scheduler"] = r.config.LRScheduler
	}
	m["ss_network_module"], m["ss_network_dropout"] = "networks.lora", optional(r.config.Network.Dropout)
	m["ss_network_dim"], m["ss_network_alpha"] = optional(r.config.Network.Dim), optional(r.config.Network.Alpha)
	arguments := map[string]any{}
	for key, value := range map[string]float64{
		"conv_dim": float64(r.config.Network.ConvDim), "conv_alpha": r.config.Network.ConvAlpha, "loraplus_lr_ratio": o.LoRAPlusRatio,
		"loraplus_unet_lr_ratio": o.LoRAPlusUNetRatio, "loraplus_text_encoder_lr_ratio": o.LoRAPlusTextEncoderRatio,
		"rank_dropout": r.config.Network.RankDropout, "module_dropout": r.config.Network.ModuleDropout,
	} {
		if value != 0 {
			arguments[key] = strconv.FormatFloat(value, 'g', -1, 64)
		}
	}
	blockArguments(arguments, r.config.Network)
	if len(arguments) > 0 {
		arguments["dropout"] = optional(r.config.Network.Dropout)
		m["ss_network_args"] = python.JSON(arguments)
	}
	m["ss_mixed_precision"], m["ss_full_fp16"], m["ss_fp8_base"], m["ss_fp8_base_unet"] = "no", false, false, false
	if r.config.MixedPrecision != "" {
		m["ss_mixed_precision"] = r.config.MixedPrecision
	}
	m["ss_v2"], m["ss_base_model_version"] = false, "sd_v1"
	if o.VParameterization {
		m["ss_base_model_version"] = "sd_v1_v"
	}
	m["ss_clip_skip"], m["ss_max_token_length"] = optional(o.ClipSkip), optional(r.config.MaxTokenLength)
	m["ss_seed"], m["ss_lowram"] = strconv.FormatUint(r.config.Dataset.Seed, 10), false
	m["ss_min_snr_gamma"], m["ss_debiased_estimation"] = optional(o.MinSNRGamma), o.DebiasedEstimation
	m["ss_scale_weight_norms"], m["ss_max_grad_norm"], m["ss_zero_terminal_snr"] = optional(o.ScaleWeightNorms), o.MaxGradNorm, o.ZeroTerminalSNR
	m["ss_loss_type"] = [...]string{compute.L2: "l2", compute.L1: "l1", compute.Huber: "huber", compute.SmoothL1: "smooth_l1"}[o.Loss]
	m["ss_huber_schedule"], m["ss_huber_c"], m["ss_huber_scale"] = "snr", 0.1, 1.0
	if o.HuberSchedule != "" {
		m["ss_huber_schedule"] = o.HuberSchedule
	}
	if o.HuberC != 0 {
		m["ss_huber_c"] = o.HuberC
	}
	if o.HuberScale != 0 {
		m["ss_huber_scale"] = o.HuberScale
	}
	m["ss_validate_every_n_epochs"], m["ss_validate_every_n_steps"] = optional(r.config.ValidateEveryNEpochs), optional(r.config.ValidateEveryNSteps)
	m["ss_max_validation_steps"] = optional(r.config.MaxValidationSteps)
	m["ss_optimizer"] = r.trainer.optimizer.Class
	m["ss_sd_scripts_commit_hash"] = lora.Product
}

// blockArguments adds what a network has for each block.
func blockArguments(arguments map[string]any, n lora.Network) {
	list := func(key string, values any) {
		if text := strings.Trim(fmt.Sprint(values), "[]"); text != "" {
			arguments[key] = strings.ReplaceAll(text, " ", ",")
		}
	}
	list("block_dims", n.BlockDims)
	list("block_alphas", n.BlockAlphas)
	list("conv_block_dims", n.ConvBlockDims)
	list("conv_block_alphas", n.ConvBlockAlphas)
	if w := n.BlockLRWeight; len(w) == lora.Blocks {
		list("down_lr_weight", w[:lora.MiddleBlock])
		list("mid_lr_weight", w[lora.MiddleBlock])
		list("up_lr_weight", w[lora.MiddleBlock+1:])
	}
}

func (r *run) describeNoise(m map[string]any) {
	n := r.config.Noise
	m["ss_noise_offset"], m["ss_noise_offset_random_strength"] = optional(n.NoiseOffset), n.NoiseOffsetRandomStrength
	m["ss_adaptive_noise_scale"] = optional(n.AdaptiveNoiseScale)
	m["ss_multires_noise_iterations"], m["ss_multires_noise_discount"] = optional(n.MultiresNoiseIterations), 0.3
	if n.MultiresNoiseDiscount != 0 {
		m["ss_multires_noise_discount"] = n.MultiresNoiseDiscount
	}
	m["ss_ip_noise_gamma"], m["ss_ip_noise_gamma_random_strength"] = optional(n.IPNoiseGamma), n.IPNoiseGammaRandomStrength
}

// describeCheckpoint names the base model, and the VAE if that is another file's, with the two hashes that web UIs know files by.
func (r *run) describeCheckpoint(ctx context.Context, m map[string]any) error {
	if err := describeFile(ctx, m, "ss_sd_model_name", "ss_sd_model_hash", "ss_new_sd_model_hash", r.config.Checkpoint.Path()); err != nil {
		return err
	}
	vae, err := r.config.Checkpoint.VAE()
	if err != nil || strings.HasPrefix(vae.Path(), r.config.Checkpoint.Path()) {
		return err
	}
	return describeFile(ctx, m, "ss_vae_name", "ss_vae_hash", "ss_new_vae_hash", vae.Path())
}

// describeFile writes a file's name and hashes. Of a folder there are none that anybody else has.
func describeFile(ctx context.Context, m map[string]any, name, hash, newHash, path string) error {
	m[name] = filepath.Base(path)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist): // embedded, or a model's id
		return nil
	case err != nil:
		return fmt.Errorf("lora: %w", err)
	case info.IsDir():
		m[hash] = "IsADirectory"
		return nil
	}
	f, err := openfile.Open(path)
	if err != nil {
		return fmt.Errorf("lora: %w", err)
	}
	defer f.Close()
	window := sha256.New()
	if _, err := io.Copy(window, io.NewSectionReader(f, 1<<20, 1<<16)); err != nil {
		return fmt.Errorf("lora: %w", err)
	}
	m[hash] = hex.EncodeToString(window.Sum(nil))[:8]
	m[newHash], err = weights.HashFile(ctx, path)
	return err
}

// seconds is Unix time as Python's time.time() has it.
func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// optional is v, or nil for the zero value: an option that was not given.
func optional[T comparable](v T) any {
	var zero T
	if v == zero {
		return nil
	}
	return v
}

// numeric is the number that an option spells, 0 for none.
func numeric(option string) any {
	if option == "" {
		return 0
	}
	return option
}
