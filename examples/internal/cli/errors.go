package cli

import (
	"cmp"
	"regexp"
)

// flagOf are the flags that fill fields, those that several programs have.
var flagOf = map[string]string{
	"Options.VAE": "-vae", "Options.TextEncoder": "-text-encoder", "Options.Config": "-model-config", "Options.Variant": "-variant",
	"Options.LoRADirs": "-lora-dir", "Options.LoRA": "-lora", "Options.EmbeddingDirs": "-embedding-dir", "Options.VAEDirs": "-vae-dir", "Options.CheckpointDirs": "-checkpoint-dir", "Options.Workers": "-threads", "Options.Precision": "-precision",
}

// flagError says what is wrong with fields in the words of a command line.
type flagError struct {
	error
	text string
}

func (e flagError) Error() string { return e.text }

func (e flagError) Unwrap() error { return e.error }

// packages are the names of packages before a flag, which say nothing to who reads about the flag.
var packages = regexp.MustCompile(`(?m)^(\w+: )+-`)

// fieldPath is the path to a field in a text, such as "Request.Width".
var fieldPath = regexp.MustCompile(`\b[A-Z]\w*(\[\d+\])?(\.[A-Z]\w*(\[\d+\])?)+`)

// index is that of an element, behind the path to it.
var index = regexp.MustCompile(`\[\d+\]$`)

// Words is a text that names fields, such as "Request.Width", with the flags in their place that fill them: those of a program's
// own, and those that are defined here.
func Words(text string, own map[string]string) string {
	return fieldPath.ReplaceAllStringFunc(text, func(field string) string {
		whole := index.ReplaceAllString(field, "") // a flag that is repeated fills them all
		return cmp.Or(own[field], own[whole], flagOf[field], field)
	})
}

// InFlags says what is wrong with fields in the [Words] of a command line.
func InFlags(err error, own map[string]string) error {
	if err == nil {
		return nil
	}
	text := packages.ReplaceAllString(Words(err.Error(), own), "-")
	if text == err.Error() {
		return err
	}
	return flagError{err, text}
}
