// Package tinyportrait carries a complete small Stable Diffusion model of drawn portraits, 128×128 pixels,
// trained from nothing for this project: what the examples and tests run on without a download.
//
// It is a diffusers folder (fp16 weights, about 24 MB with the tokenizer) embedded into every binary that imports
// it, so nothing but examples and tests should. It draws faces with hair, beards, glasses and sweaters
// in named colours, and nothing else.
package tinyportrait

import (
	"embed"
	"io/fs"
)

//go:embed all:model
var files embed.FS

// FS is the model's diffusers folder, for weights.OpenFS.
func FS() fs.FS {
	model, err := fs.Sub(files, "model")
	if err != nil {
		panic(err) // "model" is a valid path, and nothing else can go wrong
	}
	return model
}
