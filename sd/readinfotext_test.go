package sd

import (
	"bytes"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/internal/webui"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd/infotext"
	"github.com/atelier-go/atelier/sd/prompt"
	"github.com/atelier-go/atelier/unet"
)

// TestFromInfotext writes requests, whose settings all have effect, as infotexts and reads them again.
func TestFromInfotext(t *testing.T) {
	for name, r := range map[string]Request{
		"defaults": {Prompt: "a man, hat", Seed: 42},
		"everything": {
			Prompt: "a [b:c:0.5] (d:1.2)\ne", NegativePrompt: "f: g, \"h\"", Width: 640, Height: 448, Steps: 7, Sampler: sampler.EulerA, Spacing: sampler.Karras,
			Eta: new(0.5), Guidance: new(4.25), ClipSkip: 2, Seed: 1 << 40, Noise: CPU, PadConds: true, PadOld: true,
			PromptOptions: prompt.Options{Emphasis: prompt.NoNorm, OldTimelines: true},
			Variation:     Variation{Seed: 9, Strength: 0.25}, ResizeFrom: Size{512, 384},
			SamplerOptions: SamplerOptions{SigmaMin: 0.1, SigmaMax: 9, Rho: 5, DiscardPenultimate: true, SGMNoise: true, DowncastAlphas: true, ENSD: 31337},
		},
		"churn": {
			Prompt: "a", Seed: 1, Sampler: sampler.Heun, Spacing: sampler.Beta,
			SamplerOptions: SamplerOptions{SChurn: 1, STmin: 0.5, STmax: 7, SNoise: new(0.0), BetaAlpha: 0.5, BetaBeta: 0.7},
		},
		"UniPC": {
			Prompt: "a", Seed: 1, Sampler: sampler.UniPC,
			SamplerOptions: SamplerOptions{Order: 2, Variant: sampler.BH2, Skip: "logSNR", KeepOrderFinal: true},
		},
		"speed": {Prompt: "a", Seed: 1, Speed: Speed{MinUncond: 1.5, MinUncondAll: true, SkipEarly: 0.25}},
		"network": {
			Prompt: "a", Seed: 1, GuidanceRescale: 0.7, FreeU: unet.FreeU{B1: 1.5, B2: 1.6, S1: 0.9, S2: 0.2},
			Speed: Speed{TokenMerging: 0.5, TokenMergingHires: 0.3, HyperTile: HyperTile{Tile: 128, Depth: 1}, DeepCache: DeepCache{Interval: 3, Branch: 1}},
		},
		"tiles as the web UI has them": {Prompt: "a", Seed: 1, Speed: Speed{HyperTile: HyperTile{Tile: 256, Depth: 3}}},
		"tiles of the outermost level": {Prompt: "a", Seed: 1, Speed: Speed{HyperTile: HyperTile{Tile: 256}}},
		"DDIM":                         {Sampler: sampler.DDIM, Eta: new(0.25)},
		"hires":                        {Prompt: "a", Hires: &Hires{}},
		"all of hires": {
			Prompt: "a", NegativePrompt: "b", ExtraNoise: 0.25,
			Hires: &Hires{
				Width: 640, Height: 832, Upscaler: "R-ESRGAN 4x+", Strength: new(0.25), Steps: 7, Sampler: sampler.Euler, Spacing: sampler.Karras,
				Guidance: new(4.5), Prompt: "c, \"d\": e", NegativePrompt: "f",
			},
		},
		"faces": {Prompt: "a", Steps: 12, Faces: &FacePass{}},
		"all of faces": {
			Prompt: "a", NegativePrompt: "b", Width: 640, Height: 832, NoiseMultiplier: new(0.9), ColorCorrection: true,
			Faces: &FacePass{
				Boxes: []image.Rectangle{image.Rect(16, 20, 80, 84), image.Rect(96, 20, 160, 84)}, Prompt: "c, \"d\": e\nf [SEP] [SKIP]", NegativePrompt: "[PROMPT], g",
				Strength: new(0.0), Width: 640, Height: 512, Blur: new(0.0), Dilate: new(-3), Padding: new(0), Steps: 7, Guidance: new(4.5), Sampler: sampler.EulerA,
				Confidence: new(0.0), MinRatio: 0.01, MaxRatio: 0.5, Largest: 2, Order: LeftToRight,
			},
		},
		"faces of the request's size": {Prompt: "a", Width: 640, Height: 832, Faces: &FacePass{Width: 640, Height: 832, Spacing: sampler.Karras}, Hires: &Hires{}},
		"faces moved": {Prompt: "a", ClipSkip: 2, Faces: &FacePass{
			OffsetX: -3, OffsetY: 4, Merge: MergeAndInvert, ClipSkip: 1, NoiseMultiplier: new(0.8), Surest: true, Largest: 3,
		}},
		"only larger":    {Prompt: "a", Hires: &Hires{Strength: new(0.0)}},
		"hires schedule": {Prompt: "a", Hires: &Hires{Scale: 1.5, Spacing: sampler.Exponential}},
	} {
		t.Run(name, func(t *testing.T) {
			want, err := r.resolve(512)
			if err != nil {
				t.Fatal(err)
			}
			text := describe(want, nil, model{name: "v1-5", hashes: hashes{model: "6ce0161689"}}, 0)
			got, left, err := FromInfotext(infotext.Parse(text.String()))
			if err != nil || len(left) > 0 {
				t.Fatalf("left %v, %v", left, err)
			}
			if got, err = got.resolve(512); err != nil {
				t.Fatal(err)
			}
			if want.Spacing == "" { // the text names the sampler's own
				want.Spacing = want.Sampler.Spacing()
				if f := want.Faces; f != nil && f.Spacing == "" && f.Sampler == want.Sampler {
					f.Spacing = want.Spacing
				}
				if h := want.Hires; h != nil && h.Spacing == "" && h.Sampler == want.Sampler {
					h.Spacing = want.Spacing
				}
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("have %+v\nwant %+v, from\n%s", got, want, text)
			}
		})
	}
}

// TestFacesFromADetailer reads texts of the web UI's extension.
func TestFacesFromADetailer(t *testing.T) {
	const before, after = "a\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, Seed: 1, Size: 512x768, ",
		"ADetailer prompt: \"face, detailed: yes\", ADetailer confidence: 0.3, ADetailer dilate erode: 4, ADetailer mask blur: 4, " +
			"ADetailer denoising strength: 0.35, ADetailer inpaint only masked: True, ADetailer inpaint padding: 24, "
	base := FacePass{
		Prompt: "face, detailed: yes", Confidence: new(0.3), Dilate: new(4), Blur: new(4.0), Strength: new(0.35), Padding: new(24), Width: 512, Height: 768,
	}
	with := func(change func(f *FacePass)) *FacePass { f := base; change(&f); return &f }
	for text, want := range map[string]*FacePass{
		"ADetailer model: face_yolov8n.pt, " + after + "ADetailer version: 24.4.2":     &base,
		"ADetailer model: mediapipe_face_full, " + after + "ADetailer version: 24.4.2": &base,
		"ADetailer model: hand_yolov8n.pt, " + after + "ADetailer version: 24.4.2":     nil,
		after + "ADetailer version: 24.4.2":                                            nil,
		"ADetailer model: face_yolov8n.pt, ADetailer inpaint only masked: False":       nil,
		"ADetailer model: face_yolov8n.pt, " + after + "ADetailer use inpaint width height: True, ADetailer inpaint width: 640, ADetailer inpaint height: 320": with(func(f *FacePass) {
			f.Width, f.Height = 640, 320
		}),
		"ADetailer model: face_yolov8n.pt, " + after + "ADetailer use separate sampler: True, ADetailer sampler: Euler a": with(func(f *FacePass) {
			f.Sampler, f.Spacing = sampler.EulerA, sampler.Karras
		}),
		"ADetailer model: face_yolov8n.pt, " + after + "ADetailer use separate sampler: True, ADetailer sampler: Euler a, ADetailer scheduler: Automatic": with(func(f *FacePass) {
			f.Sampler = sampler.EulerA
		}),
		"ADetailer model: face_yolov8n.pt, " + after + "ADetailer use separate sampler: True, ADetailer sampler: DPM++ SDE Exponential": with(func(f *FacePass) {
			f.Sampler, f.Spacing = sampler.DPMPPSDE, sampler.Exponential
		}),
		"ADetailer model: face_yolov8n.pt, ADetailer method to decide top k masks: Confidence, ADetailer mask only top k: 2, ADetailer x offset: 3, ADetailer y offset: -4, " +
			"ADetailer mask merge invert: Merge, " + after + "ADetailer use separate noise multiplier: True, ADetailer noise multiplier: 0.9, ADetailer use separate CLIP skip: True, ADetailer CLIP skip: 2": with(func(f *FacePass) {
			f.Surest, f.Largest, f.OffsetX, f.OffsetY, f.Merge, f.NoiseMultiplier, f.ClipSkip = true, 2, 3, -4, MergeFaces, new(0.9), 2
		}),
		"ADetailer model: face_yolov8n.pt, ADetailer method to decide top k masks: Area, ADetailer mask only top k: 2, " + after: with(func(f *FacePass) { f.Largest = 2 }),
	} {
		got, left, err := FromInfotext(infotext.Parse(before + text + ", ADetailer model 2nd: hand_yolov8n.pt"))
		if err != nil || !reflect.DeepEqual(got.Faces, want) {
			t.Errorf("%s: have %+v, %v\nwant %+v", text, got.Faces, err, want)
		}
		if i := slices.IndexFunc(left, func(f infotext.Field) bool { return f.Key == "ADetailer model 2nd" }); i < 0 || want != nil && len(left) > 1 || want == nil && len(left) < 2 {
			t.Errorf("%s: left %v", text, left)
		}
	}
	_, _, err := FromInfotext(infotext.Parse(before + "ADetailer model: face_yolov8n.pt, ADetailer boxes: 1 2 3; 4, ADetailer steps: x, ADetailer sampler: y"))
	var fields []string
	for _, e := range invalid.Fields(err) {
		fields = append(fields, e.Field)
	}
	if want := []string{"Request.Faces.Sampler", "Request.Faces.Boxes", "Request.Faces.Steps"}; !slices.Equal(fields, want) {
		t.Errorf("errors of %q, want %q: %v", fields, want, err)
	}
}

func TestFromInfotextErrors(t *testing.T) {
	_, left, err := FromInfotext(infotext.Parse("a\nSteps: many, Sampler: Leapfrog, Size: large, CFG scale: x, Seed: 1.5, Hires steps: 2, Tiling: True, Model: m"))
	var fields []string
	for _, e := range invalid.Fields(err) {
		fields = append(fields, e.Field)
	}
	if want := []string{"Request.Sampler", "Request.Steps", "Request.Width", "Request.Guidance", "Request.Seed"}; !slices.Equal(fields, want) {
		t.Errorf("errors of %q, want %q: %v", fields, want, err)
	}
	if want := []infotext.Field{{Key: "Hires steps", Value: "2"}, {Key: "Tiling", Value: "True"}}; !slices.Equal(left, want) {
		t.Errorf("left %v, want %v", left, want)
	}
	old, _, err := FromInfotext(infotext.Parse("[a:b:0.5]\nSteps: 20, Sampler: Euler a, Seed: 1, Version: v1.5.1"))
	if err != nil || !old.PromptOptions.OldTimelines || !old.SamplerOptions.DowncastAlphas || old.PadOld {
		t.Errorf("a text of 2023 is read as %+v, %v", old, err)
	}
	if old, _, err = FromInfotext(infotext.Parse("a\nSteps: 20, Sampler: DDIM, Seed: 1, Version: v1.5.1")); err != nil || !old.PadOld {
		t.Errorf("a text of 2023 is read as %+v, %v", old, err)
	}
}

// TestWebUIPaste compares samplers and schedules with what the web UI's page shows after a paste. It takes names that it does not know for
// DPM++ 2M: of these, ours are errors or, where they are another program's, that sampler. Samplers with timesteps of their own
// ignore a schedule, so that requests have none.
func TestWebUIPaste(t *testing.T) {
	webui.Test(t, "infotext_read", func(t *testing.T, r struct {
		ID, Text string
		Sampler  []string
	}) {
		text := infotext.Parse(r.Text)
		name, ok := text.Get("Sampler")
		if !ok || len(r.Sampler) != 2 || r.Sampler[0] == string(sampler.DPMPP2M) && !strings.HasPrefix(name, r.Sampler[0]) {
			return
		}
		got, _, err := FromInfotext(text)
		if slices.ContainsFunc(invalid.Fields(err), func(e *invalid.FieldError) bool { return e.Field == "Request.Sampler" }) {
			if known, _, _ := sampler.Parse(name, ""); string(known) == name && !strings.Contains(err.Error(), "no schedule") {
				t.Errorf("%s: %v, want %s", r.ID, err, r.Sampler)
			}
			return
		}
		spacing := string(got.Spacing)
		if got.Spacing == got.Sampler.Spacing() || got.Spacing == sampler.Automatic {
			spacing = "Automatic"
		}
		if slices.Contains([]sampler.Sampler{sampler.DDIM, sampler.PLMS, sampler.UniPC}, got.Sampler) {
			spacing = r.Sampler[1]
		}
		if string(got.Sampler) != r.Sampler[0] || spacing != r.Sampler[1] {
			t.Errorf("%s: %s on %s, want %s, in\n%s", r.ID, got.Sampler, spacing, r.Sampler, r.Text)
		}
	})
}

// TestPictureAgain makes a picture, saves it in both formats, reads it and makes it again.
func TestPictureAgain(t *testing.T) {
	p := openTiny(t, openCPU(t))
	made := generate(t, p, small(func(r *Request) {
		r.Prompt, r.NegativePrompt, r.BatchSize, r.Sampler = "a [man:woman:0.5], (hat:1.3) AND 猫 :0.5", "glasses", 2, sampler.EulerA
	})).Pictures[1]
	for _, name := range []string{"a.png", "a.jpg"} {
		path := filepath.Join(t.TempDir(), name)
		if err := made.Save(path); err != nil {
			t.Fatal(err)
		}
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := jpeg.Decode(bytes.NewReader(file)); (err == nil) != (name == "a.jpg") {
			t.Errorf("%s is a JPEG file: %v", name, err)
		}
		text, err := infotext.Read(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		request, left, err := FromInfotext(text)
		if err != nil || len(left) > 0 {
			t.Fatalf("left %v, %v", left, err)
		}
		if again := generate(t, p, request).Pictures[0]; difference(again.Image, made.Image) > 0 || again.Infotext != made.Infotext {
			t.Errorf("%s: the picture made again differs by %d/255:\n%s\n%s", name, difference(again.Image, made.Image), again.Infotext, made.Infotext)
		}
	}
}
