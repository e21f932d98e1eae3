package sdapi_test

import (
	"bytes"
	"encoding/base64"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/studio/sdapi"
	"github.com/atelier-go/atelier/weights"
)

// encoded is a picture's file in base64.
func encoded(t *testing.T, img image.Image) string {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

// TestLoRAOfSettings adds the LoRA of the settings to prompts that do not name it.
func TestLoRAOfSettings(t *testing.T) {
	s, seen := fast(t)
	tensor := weights.Tensor{Name: "a", DType: weights.F32, Shape: []int{1}, Data: make([]byte, 4)}
	if err := weights.Write(s.dir+"/models/Lora/soft.safetensors", []weights.Tensor{tensor}, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.library.Refresh(); err != nil {
		t.Fatal(err)
	}
	with := body{"sd_lora": "soft", "extra_networks_default_multiplier": 0.75}
	for prompt, c := range map[string]struct {
		send body
		want string
	}{
		"added":    {body{"prompt": "a cat", "override_settings": with}, "a cat<lora:soft:0.75>"},
		"there":    {body{"prompt": "a cat <lora:soft:1>", "override_settings": with}, "a cat <lora:soft:1>"},
		"none":     {body{"prompt": "a cat", "override_settings": body{"sd_lora": "None"}}, "a cat"},
		"disabled": {body{"prompt": "a cat", "disable_extra_networks": true, "override_settings": with}, "a cat"},
		"unknown":  {body{"prompt": "a cat", "override_settings": body{"sd_lora": "nobody"}}, "a cat"},
	} {
		d := s.draw("/sdapi/v1/txt2img", c.send)
		if got := (<-seen).Request.Prompt; got != c.want {
			t.Errorf("%s: the prompt is %q, want %q", prompt, got, c.want)
		}
		if noted := len(d.noted()) > 0; noted != (prompt == "unknown") {
			t.Errorf("%s: notes %q", prompt, d.noted())
		}
	}
}

// TestBackground lays what is transparent of a picture to begin with on the colour of the settings.
func TestBackground(t *testing.T) {
	s, seen := fast(t)
	img := image.NewNRGBA(image.Rect(0, 0, 8, 8))
	img.SetNRGBA(1, 1, color.NRGBA{255, 0, 0, 255})
	img.SetNRGBA(2, 2, color.NRGBA{255, 255, 255, 51})
	sent := encoded(t, img)
	for colour, want := range map[string][3]color.NRGBA{
		"#000000": {{0, 0, 0, 255}, {255, 0, 0, 255}, {51, 51, 51, 255}},
		"#00ff80": {{0, 255, 128, 255}, {255, 0, 0, 255}, {51, 255, 153, 255}},
	} {
		// A job that is to be saved leaves its picture in the queue's store.
		s.draw("/sdapi/v1/img2img", body{"init_images": []string{sent}, "save_images": true, "override_settings": body{"img2img_background_color": colour}})
		r, err := s.queue.Get(t.Context(), (<-seen).Image)
		if err != nil {
			t.Fatal(err)
		}
		file, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		got, err := png.Decode(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range want {
			if have := color.NRGBAModel.Convert(got.At(i, i)); have != c {
				t.Errorf("on %s the pixel %d is %v, want %v", colour, i, have, c)
			}
		}
	}
	if d := s.draw("/sdapi/v1/img2img", body{"init_images": []string{sent}, "override_settings": body{"img2img_background_color": "blue"}}); len(d.noted()) != 1 {
		t.Errorf("a colour that is none: %q", d.noted())
	}
}

// TestMasksAnswered answers with masks behind the pictures, and with what was drawn under them, if the settings say so; and leaves what was drawn
// as it is.
func TestMasksAnswered(t *testing.T) {
	s, seen := fast(t)
	mask := image.NewGray(image.Rect(0, 0, 8, 8))
	draw.Draw(mask, image.Rect(0, 0, 4, 8), image.White, image.Point{}, draw.Src)
	send := body{
		"init_images": []string{sample(8, 8)}, "mask": encoded(t, mask), "mask_blur": 0, "inpaint_full_res": false, "width": 8, "height": 8, "n_iter": 2,
		"override_settings": body{"return_mask": true, "return_mask_composite": true, "overlay_inpaint": false},
	}
	d := s.draw("/sdapi/v1/img2img", send)
	if got := <-seen; !got.Request.Inpaint.Bare {
		t.Error("what is drawn is laid over")
	}
	if len(d.Images) != 6 {
		t.Fatalf("%d pictures, want two with two more each", len(d.Images))
	}
	for i := 0; i < 6; i += 3 {
		white, cut := s.picture(d.Images[i+1]), s.picture(d.Images[i+2])
		for x, inside := range map[int]bool{1: true, 6: false} {
			if got := color.GrayModel.Convert(white.At(x, 4)).(color.Gray); (got.Y == 255) != inside || !inside && got.Y != 0 {
				t.Errorf("the mask at %d is %d", x, got.Y)
			}
			if got := color.NRGBAModel.Convert(cut.At(x, 4)).(color.NRGBA); (got.A == 255) != inside || !inside && got.A != 0 {
				t.Errorf("what was cut out has at %d alpha %d", x, got.A)
			}
		}
	}
	send["override_settings"] = body{}
	if d := s.draw("/sdapi/v1/img2img", send); len(d.Images) != 2 || (<-seen).Request.Inpaint.Bare {
		t.Errorf("%d pictures, want two", len(d.Images))
	}
}

// TestEnd answers before the program ends.
func TestEnd(t *testing.T) {
	ends := make(chan bool, 3)
	s := newStudio(t, sdapi.Options{Stop: func(restart bool) { ends <- restart }, Flags: map[string]any{"port": 7861}}, painter{}.handlers())
	for _, c := range []struct {
		command string
		restart bool
	}{{"server-kill", false}, {"server-stop", false}, {"server-restart", true}} {
		if status, answer := s.ask("POST", "/sdapi/v1/"+c.command, nil); status != http.StatusOK || strings.TrimSpace(string(answer)) != "null" || <-ends != c.restart {
			t.Errorf("%s: %d %s", c.command, status, answer)
		}
	}
	var flags body
	s.get("/sdapi/v1/cmd-flags", &flags)
	for name, want := range map[string]any{"port": 7861.0, "api": true, "lowvram": false, "xformers": false, "data_dir": s.dir, "theme": nil} {
		if have, ok := flags[name]; !ok || have != want {
			t.Errorf("the flag %s is %v, want %v", name, have, want)
		}
	}
	if dir, _ := flags["lora_dir"].(string); !slices.Contains([]string{s.dir + "/models/Lora", s.dir + `\models\Lora`}, dir) {
		t.Errorf("the folder of LoRAs is %v", flags["lora_dir"])
	}
}
