package main

import (
	"bytes"
	"context"
	"encoding/json"
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
	"github.com/atelier-go/atelier/sd"
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

// TestCellsAreTheirOwn wants of each cell what its axes say, and no other's.
func TestCellsAreTheirOwn(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a-model.safetensors", "b-model.safetensors"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ args, want string }{
		{"-x|CFG Scale=4,7", `{"guidance":4} {"guidance":7}`},
		{"-x|Eta=0.25,0.5", `{"eta":0.25} {"eta":0.5}`},
		{"-x|Denoising=0.25,1|-image|PICTURE", `{"denoising_strength":0.25} {"denoising_strength":1}`},
		{"-x|Denoising=0.25,1", `{"hires":{"denoising_strength":0.25}} {"hires":{"denoising_strength":1}}`},
		{"-x|Hires sampler=Euler,Euler a|-set|hires.steps=3", `{"hires":{"sampler":"Euler","steps":3}} {"hires":{"sampler":"Euler a","steps":3}}`},
		{"-x|Hires steps=2|-y|Hires upscaler=None,Lanczos", `{"hires":{"steps":2,"upscaler":"None"}} {"hires":{"steps":2,"upscaler":"Lanczos"}}`},
		{"-x|Initial noise multiplier=0.9,1|-image|PICTURE", `{"initial_noise_multiplier":0.9} {"initial_noise_multiplier":1}`},
		{"-x|Extra noise=0.1", `{"img2img_extra_noise":0.1}`},
		{"-x|Cond. Image Mask Weight=0.5,1|-image|PICTURE|-mask|PICTURE", `{"inpaint":{"conditional_mask_weight":0.5}} {"inpaint":{"conditional_mask_weight":1}}`},
		{"-x|Token merging ratio=0.25|-y|Token merging ratio high-res=0.5", `{"speed":{"token_merging_ratio":0.25,"token_merging_ratio_hr":0.5}}`},
		{"-x|Refiner checkpoint=a,None|-y|Refiner switch at=0.6", `{"refiner":{"checkpoint":"a","switch_at":0.6}} {"refiner":{"checkpoint":"None","switch_at":0.6}}`},
		{"-x|Refiner switch at=0.6,0.7|-set|refiner.checkpoint=a", `{"refiner":{"checkpoint":"a","switch_at":0.6}} {"refiner":{"checkpoint":"a","switch_at":0.7}}`},
		{"-x|[ADetailer] Inpaint denoising strength 1st=0.2,0.5", `{"faces":{"denoising_strength":0.2}} {"faces":{"denoising_strength":0.5}}`},
		{"-x|[ADetailer] ADetailer model 1st=None,face_yolov8n.pt|-y|[ADetailer] ADetailer prompt 1st=a", `{} {"faces":{"prompt":"a"}}`},
		{"-x|[ADetailer] ADetailer prompt 1st=a,\"b, c\"|-y|[ADetailer] ADetailer negative prompt 1st=d", `{"faces":{"negative_prompt":"d","prompt":"a"}} {"faces":{"negative_prompt":"d","prompt":"b, c"}}`},
		{"-x|[ADetailer] Mask erosion / dilation 1st=-4,8|-y|[ADetailer] Inpaint only masked padding 1st=16", `{"faces":{"dilate_erode":-4,"inpaint_padding":16}} {"faces":{"dilate_erode":8,"inpaint_padding":16}}`},
		{"-x|[ADetailer] ADetailer sampler 1st=Euler,DPM++ 2M Karras", `{"faces":{"sampler":"Euler"}} {"faces":{"sampler":"DPM++ 2M","spacing":"Karras"}}`},
		{"-x|Mask blur=0,8|-y|Masked content=Fill,latent noise|-image|PICTURE|-mask|PICTURE",
			`{"inpaint":{"mask_blur":0,"masked_content":"fill"}} {"inpaint":{"mask_blur":8,"masked_content":"fill"}} {"inpaint":{"mask_blur":0,"masked_content":"latent noise"}} {"inpaint":{"mask_blur":8,"masked_content":"latent noise"}}`},
		{"-x|Only masked padding=8|-y|Resize mode=Resize and fill|-image|PICTURE|-mask|PICTURE|-set|inpaint.inpaint_full_res=true",
			`{"inpaint":{"inpaint_full_res":true,"inpaint_full_res_padding":8},"resize_mode":"Resize and fill"}`},
		{"-x|VAE=None,other", `{"vae":"None"} {"vae":"other"}`},
		{"-x|Checkpoint name=a-model,b [0123456789]|-checkpoint-dir|DIR", `{"model":"a-model.safetensors"} {"model":"b-model.safetensors"}`},
		{"-x|FP8 mode=Disable", `{}`}, {"-x|Face restore=None", `{}`},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Chdir(t.TempDir())
			picture := filepath.Join(t.TempDir(), "picture.png")
			if err := (sd.Picture{Image: image.NewNRGBA(image.Rect(0, 0, 8, 8))}).Save(picture); err != nil {
				t.Fatal(err)
			}
			args := strings.Split(strings.NewReplacer("PICTURE", picture, "DIR", dir).Replace(c.args), "|")
			o, err := parse(args, io.Discard)
			if err == nil {
				err = o.readPictures(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
			cells, err := o.cells()
			if err != nil {
				t.Fatal(err)
			}
			var all []string
			for _, cell := range cells {
				all = append(all, said(t, o, cell))
			}
			if got := strings.Join(all, " "); got != c.want {
				t.Errorf("the cells are %s, want %s", got, c.want)
			}
		})
	}
}

// said is what a cell has besides the command line's, as JSON, and its model.
func said(t *testing.T, o options, c cell) string {
	t.Helper()
	plain := sd.Request{Seed: o.request.Seed, Steps: o.request.Steps, Sampler: o.request.Sampler, Spacing: o.request.Spacing, ClipSkip: o.request.ClipSkip}
	r := c.request
	if r.Image = nil; r.Inpaint != nil {
		r.Inpaint.Mask = nil
	}
	if *r.Guidance == 7.5 {
		r.Guidance = nil
	}
	all := []map[string]any{{}, {}}
	for i, one := range []sd.Request{r, plain} {
		text, err := json.Marshal(one)
		if err == nil {
			err = json.Unmarshal(text, &all[i])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for key := range all[1] {
		delete(all[0], key)
	}
	if c.model != o.model {
		all[0]["model"] = filepath.Base(c.model.Path)
	}
	text, _ := json.Marshal(all[0])
	return string(text)
}

func TestBadCommandLines(t *testing.T) {
	for args, says := range map[string]string{
		"-steps 1": "no axis", "-x Magic=1": "CFG Scale", "-x Seed=x": "1-5", "-x Seed=5-1": "no values", "-x Sampler=magic": "DPM++ 2M",
		"-x LoRA=a": "<lora:NAME:1>", "-x Styles=a": "-styles", "-x Size=big": "512x768", "-x Seed=1 -margin -1": "-margin", "-x Seed=1 -o a.gif": ".png",
		"-x Image_CFG_Scale=1": "InstructPix2Pix", "-x Face_restore=GFPGAN": "GFPGAN", "-x FP8_mode=Enable": "own type", "-x Refiner_switch_at=0.5": "-set refiner.checkpoint",
		"-x Cond._Image_Mask_Weight=0.5": "-mask", "-x Initial_noise_multiplier=0.5": "-image", "-x Refiner_checkpoint=nobody": "nobody", "-x Checkpoint_name=nobody": "no checkpoint called",
		"-x Hires_upscaler=magic": "Lanczos", "-x Hires_sampler=magic": "DPM++ 2M", "-x CFG_Scale=nan": "finite", "-mask a.png -x Seed=1": "give -image", "-x Denoising=2": "0 to 1",
		"-x RNG_source=TPU": "NV", "-x Schedule_type=magic": "Karras", "-x Size=1000000x8": "4096", "-x Clip_skip=99": "layers", "-x VAE=magic": "magic",
		"-x Mask_blur=4": "-mask", "-x Masked_content=magic": "latent noise", "-x Only_masked_padding=8": "-mask", "-x Resize_mode=fill": "Resize and fill",
		"-x [ADetailer]_ADetailer_model_1st=hand_yolov8n.pt": "faces", "-x [ADetailer]_Inpaint_denoising_strength_1st=2": "0 to 1", "-x [ADetailer]_ADetailer_sampler_1st=magic": "DPM++ 2M",
		"-x Steps=-3": "-steps", "-x VAE=nothing": "nothing", "-x Seed=1 b": "unexpected",
	} {
		t.Run(args, func(t *testing.T) {
			t.Chdir(t.TempDir())
			words := strings.Fields(args)
			for i, word := range words {
				words[i] = strings.ReplaceAll(word, "_", " ")
			}
			if err := run(t.Context(), words, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), says) {
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
