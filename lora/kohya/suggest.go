package kohya

import (
	"fmt"
	"slices"
	"strings"
)

// renamed are names that options had in older versions of sd-scripts and of programs that start it, or have in other trainers.
var renamed = map[string]string{
	"lr_restart_cycles": "lr_scheduler_num_cycles", "lr_num_cycles": "lr_scheduler_num_cycles", "lr_power": "lr_scheduler_power", "scheduler": "lr_scheduler",
	"lr": "learning_rate", "unet_learning_rate": "unet_lr", "text_lr": "text_encoder_lr", "te_lr": "text_encoder_lr", "text_encoder_learning_rate": "text_encoder_lr",
	"dim": "network_dim", "rank": "network_dim", "lora_rank": "network_dim", "lora_dim": "network_dim", "alpha": "network_alpha", "lora_alpha": "network_alpha",
	"batch_size": "train_batch_size", "epochs": "max_train_epochs", "num_epochs": "max_train_epochs", "num_train_epochs": "max_train_epochs",
	"max_train_epoch": "max_train_epochs", "max_epochs": "max_train_epochs", "steps": "max_train_steps", "max_steps": "max_train_steps",
	"gradient_accumulation": "gradient_accumulation_steps", "snr_gamma": "min_snr_gamma", "warmup_steps": "lr_warmup_steps", "learning_rate_warmup_steps": "lr_warmup_steps",
	"model": "pretrained_model_name_or_path", "base_model": "pretrained_model_name_or_path", "base_model_name": "pretrained_model_name_or_path",
	"pretrained_model": "pretrained_model_name_or_path", "train_data": "train_data_dir", "instance_data_dir": "train_data_dir", "image_dir": "train_data_dir",
	"reg_dir": "reg_data_dir", "class_data_dir": "reg_data_dir", "save_every": "save_every_n_epochs", "checkpointing_steps": "save_every_n_steps",
	"resume_from_checkpoint": "resume", "lora_weights": "network_weights", "prompt_file": "sample_prompts", "validation_prompt": "sample_prompts",
}

// unknownError is about a name that is none. Only those that are shown are worth a search for names that are near.
type unknownError struct {
	message, name string
	known         []string
}

// unknown makes one.
func unknown(known []string, name, format string, args ...any) error {
	return &unknownError{fmt.Sprintf(format, args...), name, known}
}

// Error says what the name is called here, or the known ones nearest to it.
func (e *unknownError) Error() string { return e.message + suggest(e.name, e.known) }

// suggest is the end of a message about an unknown name.
func suggest(name string, known []string) string {
	type candidate struct {
		name     string
		distance int
	}
	if now := renamed[name]; slices.Contains(known, now) {
		return "; here it is called " + now
	}
	var near []candidate
	if name = strings.ToLower(name); len(name) > 100 {
		return ""
	}
	for _, k := range known {
		d := distance(name, k)
		if len(name) > 3 && strings.Contains(k, name) || len(k) > 3 && strings.Contains(name, k) {
			d = min(d, 2)
		}
		if d <= max(2, len(name)/3) {
			near = append(near, candidate{k, d})
		}
	}
	if len(near) == 0 {
		return ""
	}
	slices.SortFunc(near, func(a, b candidate) int {
		if a.distance != b.distance {
			return a.distance - b.distance
		}
		return strings.Compare(a.name, b.name)
	})
	names := []string{}
	for _, c := range near[:min(3, len(near))] {
		names = append(names, c.name)
	}
	return "; near it: " + strings.Join(names, ", ")
}

// distance counts the letters to put in, leave out or change to make one name the other (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
