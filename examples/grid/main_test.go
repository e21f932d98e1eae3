package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/examples/internal/program"
	"github.com/atelier-go/atelier/sd/infotext"
)

var small = []string{"-prompt", "red hair", "-steps", "1", "-width", "32", "-height", "32", "-threads", "1"}

// TestGrid is told to stop, makes a part of a grid, and goes on from there.
func TestGrid(t *testing.T) {
	path := filepath.Join(t.TempDir(), "grid.png")
	args := append([]string{"-y", "Prompt S/R=red,brown", "-z", "Size=32x32,40x32", "-margin", "4", "-o", path}, small...)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	if err := run(ctx, args, io.Discard, io.Discard); !errors.Is(err, enough) {
		t.Errorf("%v, want to be told to stop", err)
	}
	if err := run(t.Context(), append([]string{"-x", "Seed=1", "-keep"}, args...), io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	cells, _ := filepath.Glob(filepath.Join(path+".cells", "*.png"))
	if len(cells) != 4 {
		t.Fatalf("%d cells, want 4", len(cells))
	}
	before, err := os.Stat(cells[0])
	if err != nil {
		t.Fatal(err)
	}
	args = append([]string{"-x", "Seed=1-2"}, args...)
	if err := run(t.Context(), append([]string{"-keep"}, args...), io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(cells[0]); err != nil || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("a cell that was there is made again: %v", err)
	}
	check(t, path)
	if err := run(t.Context(), args, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path + ".cells"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the cells are left: %v", err)
	}
}

// check looks at what the grid says of itself, and where it has pictures and where it is white.
func check(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text, err := infotext.Read(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"Script": "X/Y/Z plot", "X Type": "Seed", "X Values": "1, 2", "Y Values": "red, brown", "Seed": "1"} {
		if got, _ := text.Get(key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	size := img.Bounds().Size()
	if size.X < 2*40+3*4 || size.Y < 4*32+4*4 {
		t.Errorf("the grid is only %v", size)
	}
	for _, at := range []image.Point{{0, 0}, size.Sub(image.Pt(1, 1))} {
		if r, g, b, _ := img.At(at.X, at.Y).RGBA(); r&g&b != 0xffff {
			t.Errorf("%v is not white", at)
		}
	}
}

func TestBadCommandLines(t *testing.T) {
	for args, says := range map[string]string{
		"-steps 1": "no axis", "-x Magic=1": "CFG Scale", "-x Seed=x": "1-5", "-x Seed=5-1": "no values", "-x Sampler=magic": "DPM++ 2M",
		"-x LoRA=a": "<lora:NAME:1>", "-x Styles=a": "-styles", "-x Size=big": "512x768", "-x Seed=1 -margin -1": "-margin", "-x Seed=1 -o a.gif": ".png",
		"-x Steps=-3": "-steps", "-x VAE=nothing": "nothing", "-x Seed=1 b": "unexpected",
	} {
		t.Run(args, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if err := run(t.Context(), strings.Fields(args), io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%v, want %q in it", err, says)
			}
		})
	}
	var help strings.Builder
	if err := run(t.Context(), []string{"-h"}, io.Discard, &help); !errors.Is(err, flag.ErrHelp) {
		t.Error(err)
	}
	program.Help(t, "grid", help.String())
}
