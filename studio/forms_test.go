package studio

import (
	"bytes"
	"flag"
	"fmt"
	"image"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/lora/kohya"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/studio/work"
)

// Which forms TestForms sends: some in CI, more before a release, in parts if need be.
var (
	requests = flag.Int("requests", 400, "how many forms TestForms sends")
	from     = flag.Int("from", 0, "the seed of its first")
)

// form is what pages send somewhere. In its path PORTRAIT, TRAINING, JOB and PICTURE stand for such as there are, and * for anything.
type form struct {
	path   string
	fields []string
}

// formsOfPages are all, but for those that remove what the others are about: these are sent for what is not there.
func formsOfPages() []form {
	draw, train := []string{"do", "styles", "image_file", "mask_file", "read_file", "canvas"}, []string{"do", "prompts"}
	for _, c := range controls {
		draw = append(draw, c.name)
	}
	for _, section := range kohya.Form() {
		for _, f := range section.Fields {
			train = append(train, f.Name)
		}
	}
	return []form{
		{"/draw", draw}, {"/draw/form", draw}, {"/draw/read", nil}, {"/draw/count", []string{"prompt", "negative", "steps"}}, {"/draw/send/img2img/JOB/0.png", nil}, {"/draw/send/*/*/*", nil},
		{"/enlarge", []string{"picture", "files", "scale", "width", "height", "visibility", "upscaler", "second", "crop"}},
		{"/queue/jobs/JOB", []string{"do", "before"}}, {"/queue/jobs/*", []string{"do"}}, {"/login", []string{"token", "to"}},
		{"/machine/checkpoint", []string{"checkpoint"}}, {"/machine/refresh", nil}, {"/machine/unload", nil}, {"/machine/theme", []string{"theme"}},
		{"/portrait", []string{"photos"}}, {"/portrait/PORTRAIT/photos", []string{"photos"}}, {"/portrait/PORTRAIT/photos/001.jpg", []string{"do"}}, {"/portrait/PORTRAIT/photos/*", []string{"do"}},
		{"/portrait/PORTRAIT/person", []string{"name", "class", "own", "checkpoint", "next"}}, {"/portrait/PORTRAIT/captions", []string{"all", "find", "put", "append", "caption-001.jpg"}},
		{"/portrait/PORTRAIT/train", []string{"do"}}, {"/portrait/PORTRAIT/choose", []string{"choice", "weight", "do"}}, {"/portrait/PORTRAIT/pictures", []string{"preset", "do"}}, {"/portrait/*/remove", nil},
		{"/train", []string{"file"}}, {"/train/TRAINING", train}, {"/train/TRAINING/report", train}, {"/train/*/remove", nil}, {"/runs/*", []string{"do"}},
		{"/gallery/text", []string{"file"}}, {"/gallery/verify/PICTURE", nil}, {"/gallery/send/inpaint/PICTURE", nil}, {"/gallery/send/*/*", nil}, {"/gallery/delete/*", nil},
	}
}

// oddTexts are what strangers write.
var oddTexts = []string{
	"", "0", "-1", "1", "7", "64", "512", "1,5", "1e400", "NaN", "9223372036854775808", "x", "on", "true", "\x00", "\xff\xfe", "../../etc/passwd", "none/there", "<lora:x:1>", "((a:1.2", "[a:b:0.5]", "Euler a", "Karras", "Latent",
	"a\nNegative prompt: b\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 64x64", strings.Repeat("(", 2000), "inputs/" + strings.Repeat("0", 64) + "/a.png", "tiny-portrait", "Seed", "1-10 [4]", "1/0.8",
	"start", "save", "json", "keep", "drop", "found", "pause", "resume", "stop", "cancel", "move", "retry", "best", "read", "man", "dark", "001.jpg: x\nx: y",
}

// TestForms sends to every page that takes a form what strangers may put into it: it is nobody's fault but theirs.
//
//	go test ./studio -run TestForms -timeout 2h -args -requests 100000
func TestForms(t *testing.T) {
	s, lib, q := tinyStudio(t)
	file, err := lib.SavePicture(library.Txt2Img, sd.Picture{Image: image.NewNRGBA(image.Rect(0, 0, 8, 8)), Infotext: "a\nSteps: 1, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 64x64"})
	if err != nil {
		t.Fatal(err)
	}
	job, err := work.Submit(t.Context(), q, jobs.Job{}, work.Draw{Request: sd.Request{Prompt: "a man", Width: 64, Height: 64}})
	if err != nil {
		t.Fatal(err)
	}
	names := strings.NewReplacer(
		"PORTRAIT", path.Base(begin(t, s, samplePhotos(t, 2))), "TRAINING", path.Base(post(t, s, "/train", nil)), "JOB", job.ID,
		"PICTURE", "txt2img-images/"+path.Base(path.Dir(strings.ReplaceAll(file, `\`, "/")))+"/"+path.Base(strings.ReplaceAll(file, `\`, "/")),
	)
	all, statuses := formsOfPages(), make(map[int]int)
	for seed := *from; seed < *from+*requests; seed++ {
		d, to := rand.New(rand.NewPCG(uint64(seed), 1)), all[seed%len(all)]
		at := names.Replace(to.path)
		for strings.Contains(at, "*") {
			at = strings.Replace(at, "*", url.PathEscape(oddTexts[1+d.IntN(len(oddTexts)-1)]), 1)
		}
		body, kind := strange(d, to.fields)
		headers := []string{"Content-Type", kind}
		if d.IntN(2) == 0 {
			headers = append(headers, "Accept", "text/html")
		}
		got := ask(s, "POST", at, body, headers...)
		if statuses[got.Code]++; got.Code >= http.StatusInternalServerError || got.Code < http.StatusOK {
			t.Fatalf("seed %d: %s with %.1000q: %d %.1000s", seed, at, body, got.Code, got.Body)
		}
		for _, j := range q.Jobs() {
			if j.ID != job.ID {
				if err := q.Remove(t.Context(), j.ID); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	t.Logf("%d forms to %d addresses, by status: %v", *requests, len(all), statuses)
}

// strange is a form by chance, as one of the two kinds that there are, or none at all.
func strange(d *rand.Rand, fields []string) (body, kind string) {
	const plain = "application/x-www-form-urlencoded"
	rare := []int{2, 6, 30}[d.IntN(3)]
	text := func() string { return oddTexts[d.IntN(len(oddTexts))] }
	switch d.IntN(8) {
	case 0:
		return text(), []string{plain, "multipart/form-data; boundary=x", "application/json", "text/plain"}[d.IntN(4)]
	case 1, 2, 3:
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		for _, name := range fields {
			switch d.IntN(rare) {
			case 0:
				w.WriteField(name, text())
			case 1:
				part, err := w.CreateFormFile(name, fmt.Sprint(text(), []string{".png", ".jpg", ".txt", ".json", ".toml", ""}[d.IntN(6)]))
				if err == nil {
					part.Write([]byte(text()))
				}
			}
		}
		w.Close()
		whole := b.String()
		return whole[:len(whole)-d.IntN(2)*d.IntN(len(whole))], w.FormDataContentType()
	}
	values := make(url.Values)
	for _, name := range fields {
		if d.IntN(rare) == 0 {
			values.Add(name, text())
		}
	}
	return values.Encode(), plain
}
