// Package tinyportrait carries a complete small Stable Diffusion model of drawn portraits, 128×128 pixels,
// trained from nothing for this project, and photos of somebody it has never seen: what the examples and tests run on
// without a download.
//
// The model is a diffusers folder (fp16 weights, about 24 MB with the tokenizer). Like the photos it is embedded into
// every binary that imports the package, so nothing but examples and tests should. It draws faces with hair, beards,
// glasses and sweaters in named colours, and nothing else.
package tinyportrait

import (
	"embed"
	"io/fs"
)

//go:embed all:model photos
var files embed.FS

// Name is what pictures and LoRAs made with the model call it.
const Name = "tiny-portrait"

// FS is the model's diffusers folder, for weights.OpenFS.
func FS() fs.FS { return sub("model") }

// Photos is a folder as trainers of LoRAs take it, for os.CopyFS. "12_personname man" has 16 photos of one person, each with
// the caption "photo of personname man": bald, a red beard, glasses, a yellow sweater. They are JPEG, PNG and WebP of several
// sizes and shapes, some with an EXIF orientation. "1_man" has 12 regularisation pictures of other men, with captions in
// the words the model knows.
func Photos() fs.FS { return sub("photos") }

func sub(dir string) fs.FS {
	f, err := fs.Sub(files, dir)
	if err != nil {
		panic(err) // dir is a valid path, and nothing else can go wrong
	}
	return f
}
