package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDraw(t *testing.T) {
	picture := filepath.Join(t.TempDir(), "a.png")
	if err := draw(t.Context(), filepath.Join("..", "..", "..", "tinyportrait", "model"), "portrait of a woman", picture); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(picture); err != nil || info.Size() < 1000 {
		t.Errorf("%v, want a picture", err)
	}
}
