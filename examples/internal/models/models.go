// Package models is what the programs of a studio have in common, the one that serves its pages and those that work for it: where models are,
// and how a machine works with the built-in tiny one.
package models

import (
	"log/slog"
	"path/filepath"

	"github.com/atelier-go/atelier/examples/internal/cli"
	"github.com/atelier-go/atelier/examples/internal/tiny"
	"github.com/atelier-go/atelier/face"
	"github.com/atelier-go/atelier/portrait"
	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/studio/work"
	"github.com/atelier-go/atelier/tinyportrait"
	"github.com/atelier-go/atelier/tinyportrait/drawn"
)

// Flags are those that fill fields of a library's options.
var Flags = map[string]string{
	"Options.CheckpointDir": "-ckpt-dir", "Options.LoRADir": "-lora-dir", "Options.VAEDir": "-vae-dir", "Options.EmbeddingDir": "-embeddings-dir",
	"Options.UpscalerDir": "-esrgan-dir", "Options.WebUI": "-webui-dir", "Options.DataDir": "-data-dir", "Options.OutputDir": "-output-dir",
}

// Define defines the flags of a library's models, which are called as the web UI's, for a group of the help behind names of further flags, and
// adds the built-in tiny model.
func Define(f *cli.Flags, o *library.Options, names ...string) {
	o.Embedded, o.EmbeddedName = tinyportrait.FS(), tinyportrait.Name
	f.StringVar(&o.WebUI, "webui-dir", "", "`FOLDER` of AUTOMATIC1111's web UI or of ComfyUI, whose models are used in place (default, for the studio without -data-dir: the one in the home folder, if there is one; none is none)")
	names = append(names, "webui-dir")
	for _, folder := range []struct {
		name string
		path *string
		what string
	}{
		{"ckpt-dir", &o.CheckpointDir, "checkpoints"}, {"lora-dir", &o.LoRADir, "LoRAs"}, {"vae-dir", &o.VAEDir, "VAEs, and TAESD"},
		{"embeddings-dir", &o.EmbeddingDir, "textual inversions"}, {"esrgan-dir", &o.UpscalerDir, "upscalers"},
	} {
		f.StringVar(folder.path, folder.name, "", "`FOLDER` of "+folder.what+", and of folders of them")
		names = append(names, folder.name)
	}
	f.Group("Models", names...)
}

// Machine are the options of a machine that works in a folder, "" being one for temporary files: it knows the faces that the tiny model draws,
// and what that wants of portraits.
func Machine(dir string, log *slog.Logger) work.Options {
	return work.Options{Dir: dir, Logger: log, Faces: faces, Side: side, Portrait: sit}
}

// side is that of the pictures that a checkpoint learns, for those who look at photos before there is a job; 0 is the usual.
func side(c library.Checkpoint) int {
	if isTiny(c) {
		return 128
	}
	return 0
}

// isTiny reports whether a checkpoint is the built-in one.
func isTiny(c library.Checkpoint) bool { return c.Path == "" && c.Name == tinyportrait.Name }

func faces(c library.Checkpoint) work.Detector {
	if isTiny(c) {
		return drawn.Detector{}
	}
	return face.Cascades{}
}

// sit completes the configuration of portraits by the tiny model.
func sit(c library.Checkpoint, p *portrait.Config) error {
	if !isTiny(c) {
		return nil
	}
	tiny.Pictures(&p.Pictures)
	if p.Others != "" || p.DrawOthers > 0 {
		return nil
	}
	p.Others = filepath.Join(filepath.Dir(p.Output), "others")
	return tiny.LayOut(p.Others, tiny.Others)
}
