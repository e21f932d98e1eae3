package cli

import (
	"cmp"
	"regexp"
	"strings"

	"github.com/atelier-go/atelier/invalid"
)

// flagOf are the flags that fill fields, those that several programs have.
var flagOf = map[string]string{
	"Options.VAE": "-vae", "Options.TextEncoder": "-text-encoder", "Options.Config": "-model-config", "Options.Variant": "-variant",
	"Options.LoRADirs": "-lora-dir", "Options.EmbeddingDirs": "-embedding-dir", "Options.Workers": "-threads", "Options.Precision": "-precision",
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

// InFlags says what is wrong with fields, such as "Request.Width", by the flags that fill them: those of a program's own, and
// those that are defined here.
func InFlags(err error, own map[string]string) error {
	fields := invalid.Fields(err)
	if len(fields) == 0 {
		return err
	}
	text := err.Error()
	for _, field := range fields {
		if name := cmp.Or(own[field.Field], flagOf[field.Field]); name != "" {
			text = strings.ReplaceAll(text, field.Error(), field.Say(name))
		}
	}
	return flagError{err, packages.ReplaceAllString(text, "-")}
}
