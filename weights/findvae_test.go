package weights

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFindVAE(t *testing.T) {
	root := t.TempDir()
	models, vaes := filepath.Join(root, "models"), filepath.Join(root, "vae")
	for _, file := range []string{
		"models/dreamy.safetensors", "models/dreamy.vae.pt", "models/other.ckpt", "models/plain.safetensors",
		"vae/vae-ft-mse.safetensors", "vae/below/anime.vae.pt", "vae/other-colours.ckpt", "vae/readme.txt",
	} {
		path := filepath.Join(root, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ name, checkpoint, want string }{
		{"", "dreamy.safetensors", "models/dreamy.vae.pt"},
		{"Automatic", "dreamy.safetensors", "models/dreamy.vae.pt"},
		{"None", "dreamy.safetensors", ""},
		{"Automatic", "other.ckpt", "vae/other-colours.ckpt"},
		{"Automatic", "plain.safetensors", ""},
		{"vae-ft-mse.safetensors", "dreamy.safetensors", "vae/vae-ft-mse.safetensors"},
		{"vae-ft-mse", "dreamy.safetensors", "vae/vae-ft-mse.safetensors"},
		{"anime", "plain.safetensors", "vae/below/anime.vae.pt"},
		{"anime.vae.pt", "plain.safetensors", "vae/below/anime.vae.pt"},
		{"dreamy.vae.pt", "plain.safetensors", "models/dreamy.vae.pt"},
	} {
		want := ""
		if c.want != "" {
			want = filepath.Join(root, filepath.FromSlash(c.want))
		}
		if got, err := FindVAE(c.name, filepath.Join(models, c.checkpoint), vaes); err != nil || got != want {
			t.Errorf("%q for %s: %q, %v, want %q", c.name, c.checkpoint, got, err, want)
		}
	}
	_, err := FindVAE("zebra", filepath.Join(models, "plain.safetensors"), vaes)
	if e, ok := errors.AsType[*NoVAEError](err); !ok || e.Name != "zebra" || !strings.Contains(err.Error(), "vae-ft-mse.safetensors") {
		t.Error(err)
	}
	if _, err := FindVAE("", "", filepath.Join(root, "nowhere")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestFindTAESD(t *testing.T) {
	for _, c := range []struct{ file, half, want string }{
		{"taesd_decoder.pth", "taesd_decoder", "taesd_decoder.pth"},
		{"below/taesd_decoder.safetensors", "taesd_decoder", "below/taesd_decoder.safetensors"},
		{"taesd.safetensors", "taesd_encoder", "taesd.safetensors"},
		{"taesd/diffusion_pytorch_model.safetensors", "taesd_decoder", "taesd/diffusion_pytorch_model.safetensors"},
		{"taesd_decoder.pth", "taesd_encoder", ""},
		{"taesdxl_decoder.pth", "taesd_decoder", ""},
		{"sdxl-taesd.txt", "taesd_decoder", ""},
		{"other/diffusion_pytorch_model.safetensors", "taesd_decoder", ""},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, filepath.FromSlash(c.file))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		got, err := FindTAESD(c.half, dir)
		if _, none := errors.AsType[*NoVAEError](err); none != (c.want == "") || c.want != "" && got != filepath.Join(dir, filepath.FromSlash(c.want)) {
			t.Errorf("%s in %s: %q, %v, want %q", c.half, c.file, got, err, c.want)
		}
	}
}
