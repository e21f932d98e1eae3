package sd

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute/ref"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd/infotext"
	"github.com/atelier-go/atelier/weights"
)

func gradient() *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, 5, 3))
	for i := range img.Pix {
		img.Pix[i] = byte(37 * i)
	}
	for i := 3; i < len(img.Pix); i += 4 {
		img.Pix[i] = 255
	}
	return img
}

// pngChunks reads the chunks of a PNG file, checksums included.
func pngChunks(t *testing.T, file []byte) (kinds []string, bodies [][]byte) {
	t.Helper()
	if !bytes.HasPrefix(file, []byte("\x89PNG\r\n\x1a\n")) {
		t.Fatalf("not a PNG signature: %q", file[:min(8, len(file))])
	}
	for rest := file[8:]; len(rest) > 0; {
		n := int(binary.BigEndian.Uint32(rest))
		kind, body := string(rest[4:8]), rest[8:8+n]
		if sum := binary.BigEndian.Uint32(rest[8+n:]); sum != crc32.ChecksumIEEE(rest[4:8+n]) {
			t.Errorf("the checksum of %s is wrong", kind)
		}
		kinds, bodies = append(kinds, kind), append(bodies, body)
		rest = rest[12+n:]
	}
	return kinds, bodies
}

func TestEncode(t *testing.T) {
	for _, c := range []struct{ name, text, kind, body string }{
		{"none", "", "", ""},
		{"ASCII", "a man\nSteps: 20", "tEXt", "parameters\x00a man\nSteps: 20"},
		{"Latin-1", "café", "tEXt", "parameters\x00caf\xe9"},
		{"beyond", "猫, 👓", "iTXt", "parameters\x00\x00\x00\x00\x00猫, 👓"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := (Picture{Image: gradient(), Infotext: c.text}).Encode(&b); err != nil {
				t.Fatal(err)
			}
			kinds, bodies := pngChunks(t, b.Bytes())
			if c.kind == "" {
				if strings.Contains(strings.Join(kinds, " "), "t") {
					t.Errorf("chunks %v, want none of text", kinds)
				}
			} else if len(kinds) < 2 || kinds[1] != c.kind || string(bodies[1]) != c.body {
				t.Errorf("chunks %v, the second %q, want %s %q", kinds, bodies[1], c.kind, c.body)
			}
			img, err := png.Decode(&b)
			if err != nil {
				t.Fatal(err)
			}
			want := gradient()
			for y := range 3 {
				for x := range 5 {
					if have := color.NRGBAModel.Convert(img.At(x, y)); have != want.NRGBAAt(x, y) {
						t.Fatalf("pixel %d, %d is %v, want %v", x, y, have, want.NRGBAAt(x, y))
					}
				}
			}
		})
	}
}

// full is a device on which there is no room after some bytes.
type full struct{ room int }

var errFull = errors.New("no space left on device")

func (f *full) Write(b []byte) (int, error) {
	if len(b) > f.room {
		return f.room, errFull
	}
	f.room -= len(b)
	return len(b), nil
}

func TestEncodeReportsWrites(t *testing.T) {
	for _, room := range []int{0, 40, 60} {
		if err := (Picture{Image: gradient(), Infotext: "a man"}).Encode(&full{room}); !errors.Is(err, errFull) {
			t.Errorf("with %d bytes of room the error is %v, want %v", room, err, errFull)
		}
	}
}

func TestSave(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "out.png")
	for _, text := range []string{"first", "second"} {
		if err := (Picture{Image: gradient(), Infotext: text}).Save(path); err != nil {
			t.Fatal(err)
		}
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, bodies := pngChunks(t, file); string(bodies[1]) != "parameters\x00"+text {
			t.Errorf("the text is %q, want %q", bodies[1], text)
		}
	}
	missing := filepath.Join(folder, "none", "out.png")
	if err := (Picture{Image: gradient()}).Save(missing); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("the error is %v, want one that names %s", err, missing)
	}
	occupied := filepath.Join(folder, "folder.png")
	if err := os.MkdirAll(filepath.Join(occupied, "full"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := (Picture{Image: gradient()}).Save(occupied); err == nil {
		t.Error("a folder was overwritten")
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name := e.Name(); name != "out.png" && name != "folder.png" {
			t.Errorf("%s was left behind", name)
		}
	}
}

// pairs is how the web UI finds the settings in the last line of an infotext.
var pairs = regexp.MustCompile(`\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)`)

func TestInfotext(t *testing.T) {
	eta := 0.5
	for _, c := range []struct {
		name    string
		request Request
		model   string
		i       int
		head    string
		want    map[string]string
	}{
		{"defaults", Request{Prompt: "a man, hat", Seed: 42}, "v1-5", 0, "a man, hat\n",
			map[string]string{"Steps": "20", "Sampler": "DPM++ 2M", "CFG scale": "7.5", "Seed": "42", "Size": "512x512", "Model": "v1-5", "RNG": "NV", "Clip skip": "", "Eta": ""}},
		{"everything", Request{Prompt: "line one\nline two", NegativePrompt: "bad, worse", Width: 640, Height: 448, Steps: 7, Sampler: sampler.EulerA,
			Spacing: sampler.Karras, Eta: &eta, Guidance: new(4.0), ClipSkip: 2, Seed: 9, Noise: CPU}, `my "best", model: 2`, 3,
			"line one\nline two\nNegative prompt: bad, worse\n",
			map[string]string{"Steps": "7", "Sampler": "Euler a", "Schedule type": "Karras", "CFG scale": "4", "Seed": "12", "Size": "640x448",
				"Model": `"my \"best\", model: 2"`, "RNG": "CPU", "Clip skip": "2", "Eta": "0.5"}},
		{"sampling", Request{Seed: 9, Sampler: sampler.Heun, Spacing: sampler.Karras, Variation: Variation{Seed: 4, Strength: 0.25}, ResizeFrom: Size{Width: 512, Height: 384},
			SamplerOptions: SamplerOptions{SChurn: 5, SNoise: new(1.01), DiscardPenultimate: true, Rho: 3, ENSD: 31337}}, "", 1, "",
			map[string]string{"Seed": "9", "Variation seed": "5", "Variation seed strength": "0.25", "Seed resize from": "512x384",
				"Sigma churn": "5", "Sigma noise": "1.01", "Sigma tmin": "", "Discard penultimate sigma": "True", "Schedule rho": "3", "ENSD": "31337"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := c.request.resolve(512)
			if err != nil {
				t.Fatal(err)
			}
			text := describe(r, nil, model{name: c.model}, c.i).String()
			if !strings.HasPrefix(text, c.head) {
				t.Fatalf("the text begins otherwise than %q:\n%s", c.head, text)
			}
			got := map[string]string{}
			for _, m := range pairs.FindAllStringSubmatch(text[len(c.head):], -1) {
				got[m[1]] = m[2]
			}
			for key, want := range c.want {
				if got[key] != want {
					t.Errorf("%s is %q, want %q in\n%s", key, got[key], want, text)
				}
			}
			// The web UI takes three numbers for one of its own releases and behaves like that.
			if _, err := strconv.ParseFloat(strings.TrimPrefix(got["Version"], "v")[:1], 64); err == nil || got["Version"] == "" {
				t.Errorf("the version is %q", got["Version"])
			}
		})
	}
}

// TestModelHash looks for the hash of the checkpoint's file in infotexts, by which the web UI finds the checkpoint.
func TestModelHash(t *testing.T) {
	for _, variable := range []string{"XDG_CACHE_HOME", "LocalAppData", "HOME"} {
		t.Setenv(variable, t.TempDir())
	}
	path := filepath.Join(tinyRandom(t), "..", "tiny-random-ldm.safetensors")
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%x", sha256.Sum256(file))[:10]
	dev := ref.New()
	defer dev.Close()
	p, err := Open(t.Context(), path, dev, Options{Weights: weights.Options{Config: tinyRandom(t)}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for range 2 {
		text := infotext.Parse(generate(t, p, small(func(r *Request) { r.Steps = 1 })).Pictures[0].Infotext)
		if got, _ := text.Get("Model hash"); got != want {
			t.Errorf("model hash %q, want %q", got, want)
		}
	}
	folder := openTiny(t, openCPU(t))
	text := infotext.Parse(generate(t, folder, small(func(r *Request) { r.Steps = 1 })).Pictures[0].Infotext)
	if got, ok := text.Get("Model hash"); ok {
		t.Errorf("a folder has the hash %q", got)
	}
}
