package studio

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"io/fs"
	"maps"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/face"
	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/portrait"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/studio/work"
	"github.com/atelier-go/atelier/tinyportrait"
	"github.com/atelier-go/atelier/tinyportrait/drawn"
	"github.com/atelier-go/atelier/weights"
)

// upload is a form with files, by their names.
func upload(t *testing.T, files map[string][]byte) (body, kind string) {
	t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		part, err := form.CreateFormFile("photos", name)
		if err != nil {
			t.Fatal(err)
		}
		part.Write(files[name])
	}
	form.Close()
	return b.String(), form.FormDataContentType()
}

// samplePhotos are some of the sample photos.
func samplePhotos(t *testing.T, n int) map[string][]byte {
	t.Helper()
	names, err := fs.Glob(tinyportrait.Photos(), "12_personname man/*.*")
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string][]byte)
	for _, name := range names {
		if path.Ext(name) == ".txt" || len(files) == n {
			continue
		}
		if files[path.Base(name)], err = fs.ReadFile(tinyportrait.Photos(), name); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// smallPortrait makes a portrait of the tiny model take seconds.
func smallPortrait(_ library.Checkpoint, c *portrait.Config) error {
	c.Prepare.Resolution = 128
	c.Score, c.Weights = portrait.ScoreOptions{Timesteps: []int{500}, Noises: 2}, []float64{0.8, 1}
	c.Pictures.Prompt, c.Pictures.Candidates, c.Pictures.Best = "photo of {person}", 3, 2
	c.Pictures.Request = sd.Request{Steps: 3, Width: 128, Height: 128}
	c.Pictures.Hires = &sd.Hires{Scale: 1.5, Upscaler: sd.Lanczos, Strength: new(0.3), Steps: 2}
	c.Recipe = func(s portrait.DataSet, c *weights.Checkpoint) train.Config {
		cfg := portrait.Recipe(s, c)
		cfg.Dataset.MaxTrainEpochs, cfg.Dataset.Sets[0].Subsets[0].Repeats, cfg.Dataset.Sets[0].BatchSize = 2, 1, 2
		cfg.Network.Dim, cfg.Network.Alpha, cfg.Network.ConvDim = 2, 2, 0
		return cfg
	}
	return nil
}

// tinyStudio is a studio with the tiny model, whose people its eyes know.
func tinyStudio(t *testing.T) (*Server, *library.Library, *jobs.Queue) {
	t.Helper()
	lib, err := library.Open(library.Options{DataDir: t.TempDir(), Embedded: tinyportrait.FS(), EmbeddedName: tinyportrait.Name})
	if err != nil {
		t.Fatal(err)
	}
	q := openQueue(t)
	s := newServer(t, Options{Queue: q, Library: lib, Dir: t.TempDir(), Portrait: smallPortrait, Faces: func(library.Checkpoint) face.Detector { return drawn.Detector{} }})
	return s, lib, q
}

// worker does the jobs of a queue with the tiny model until the test ends.
func tinyWorker(t *testing.T, q *jobs.Queue, lib *library.Library) {
	t.Helper()
	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := work.NewMachine(dev, lib, work.Options{Dir: t.TempDir(), Faces: func(library.Checkpoint) work.Detector { return drawn.Detector{} }, Portrait: smallPortrait})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		q.Work(ctx, jobs.Worker{Name: "tiny", Handlers: m.Handlers()})
	}()
	t.Cleanup(func() {
		stop()
		<-done
		m.Close()
		dev.Close()
	})
}

// untilSays asks for a page until it has a text.
func untilSays(t *testing.T, s http.Handler, path, text string, within time.Duration) string {
	t.Helper()
	var body string
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(30 * time.Millisecond) {
		got := ask(s, "GET", path, "", "Accept", "text/html")
		if body = got.Body.String(); strings.Contains(body, text) {
			return body
		}
		if strings.Contains(body, `class="state failed"`) {
			break
		}
	}
	t.Fatalf("%s does not say %q: %s", path, text, body)
	return ""
}

// post sends a form and follows where it leads.
func post(t *testing.T, s http.Handler, path string, form url.Values) string {
	t.Helper()
	got := ask(s, "POST", path, form.Encode(), "Accept", "text/html")
	if got.Code != http.StatusSeeOther {
		t.Fatalf("%s: %d %s", path, got.Code, got.Body)
	}
	return got.Header().Get("Location")
}

// begin begins a portrait with photos and waits until they were looked at.
func begin(t *testing.T, s *Server, files map[string][]byte) (base string) {
	t.Helper()
	body, kind := upload(t, files)
	got := ask(s, "POST", "/portrait", body, "Content-Type", kind, "Accept", "text/html")
	if got.Code != http.StatusSeeOther {
		t.Fatalf("%d %s", got.Code, got.Body)
	}
	base = strings.TrimSuffix(got.Header().Get("Location"), "/photos")
	untilSays(t, s, base+"/photos/grid", "kept.", 2*time.Minute)
	return base
}

// TestPhotos culls photos: what was found is there, keys' buttons overrule it, captions are written in all three ways.
func TestPhotos(t *testing.T) {
	s, _, _ := tinyStudio(t)
	files := samplePhotos(t, 3)
	var nobody bytes.Buffer
	if err := png.Encode(&nobody, image.NewNRGBA(image.Rect(0, 0, 300, 300))); err != nil {
		t.Fatal(err)
	}
	files["wall.png"], files["001.txt"] = nobody.Bytes(), []byte("photo of personname person, smiling")
	base := begin(t, s, files)
	page := ask(s, "GET", base+"/photos", "").Body.String()
	for _, want := range []string{"3 of 4 kept", `aria-label="wall.png: dropped"`, `aria-label="001.jpg: kept`, "no face"} {
		if !strings.Contains(page, want) {
			t.Errorf("the photos' page does not say %q", want)
		}
	}
	if got := ask(s, "GET", base+"/photo/001.jpg?face=1", ""); got.Code != http.StatusOK || got.Header().Get("Content-Type") != "image/jpeg" {
		t.Errorf("a face: %d %s", got.Code, got.Body)
	}
	post(t, s, base+"/photos/001.jpg", url.Values{"do": {"drop"}})
	untilSays(t, s, base+"/photos/grid", "2 of 4 kept", time.Minute)
	post(t, s, base+"/photos/001.jpg", url.Values{"do": {"found"}})
	untilSays(t, s, base+"/photos/grid", "3 of 4 kept", time.Minute)
	post(t, s, base+"/photos/wall.png", url.Values{"do": {"erase"}})
	untilSays(t, s, base+"/photos/grid", "3 of 3 kept", time.Minute)

	post(t, s, base+"/person", url.Values{"name": {"ohwx"}, "class": {"own"}, "own": {"lady"}})
	post(t, s, base+"/captions", url.Values{"find": {"smiling"}, "put": {"laughing"}, "append": {"indoors"}})
	post(t, s, base+"/captions", url.Values{"caption-002.jpg": {"ohwx lady, outdoors"}})
	page = ask(s, "GET", base+"/person", "").Body.String()
	for _, want := range []string{"001.jpg: photo of ohwx lady, laughing, indoors", "002.jpg: ohwx lady, outdoors"} {
		if !strings.Contains(page, want) {
			t.Errorf("the captions do not have %q", want)
		}
	}
	post(t, s, base+"/captions", url.Values{"all": {"001.jpg: one\n002.jpg: two\nwall.png: three"}})
	page = ask(s, "GET", base+"/person", "").Body.String()
	if !strings.Contains(page, "001.jpg: one\n002.jpg: two") || strings.Contains(page, "three") {
		t.Error("captions as one text were not taken")
	}
	for name, form := range map[string]url.Values{"no name": {"name": {""}, "class": {"man"}}, "a tag": {"name": {"<lora:x:1>"}, "class": {"man"}}, "long": {"name": {strings.Repeat("x", 99)}, "class": {"man"}}} {
		if got := ask(s, "POST", base+"/person", form.Encode()); got.Code != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", name, got.Code)
		}
	}
}

// TestPhotosRefused: what is no photo is refused with the reason, and keeps nothing else from coming. No name leads anywhere else.
func TestPhotosRefused(t *testing.T) {
	s, _, _ := tinyStudio(t)
	files := samplePhotos(t, 1)
	files["../../../evil.txt"], files["script.html"], files[`C:\fakepath\con.png`] = []byte("caption"), []byte("<script>"), files["001.jpg"]
	body, kind := upload(t, files)
	got := ask(s, "POST", "/portrait", body, "Content-Type", kind, "Accept", "text/html")
	if got.Code != http.StatusUnprocessableEntity || !strings.Contains(got.Body.String(), "script.html&#34; is no photo") {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	err := filepath.WalkDir(s.options.Dir, func(path string, e fs.DirEntry, err error) error {
		if strings.Contains(path, "evil") && filepath.Base(filepath.Dir(path)) != "photos" || strings.HasSuffix(path, ".html") {
			t.Errorf("%s was written", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for _, at := range []string{"/portrait/..%2f..%2f/photos", "/portrait/aaaaaaaaaa/photos", "/portrait/AAAAAAAAAA", "/train/aaaaaaaaaa", "/runs/none", "/gallery/picture/..%2f..%2fconfig.json", "/gallery/file/none.png"} {
		if got := ask(s, "GET", at, "", "Accept", "text/html"); got.Code != http.StatusNotFound && got.Code != http.StatusBadRequest && got.Code != http.StatusMovedPermanently && got.Code != http.StatusTemporaryRedirect {
			t.Errorf("%s: %d", at, got.Code)
		}
	}
	if n := len(s.projects.all()); n != 1 {
		t.Errorf("%d portraits", n)
	}
}

// inBrowser says that TestBrowser runs too.
var inBrowser bool

// TestWizard goes the whole way from photos to portraits, then chooses otherwise.
func TestWizard(t *testing.T) {
	if testing.Short() {
		t.Skip("it trains and draws: a minute")
	}
	if inBrowser {
		t.Skip("TestBrowser goes this way")
	}
	s, lib, q := tinyStudio(t)
	tinyWorker(t, q, lib)
	base := begin(t, s, samplePhotos(t, 5))
	post(t, s, base+"/person", url.Values{"name": {"personname"}, "class": {"man"}, "next": {"train"}})
	post(t, s, base+"/train", url.Values{"do": {"start"}})
	page := untilSays(t, s, base+"/train/live", "See the pictures", 5*time.Minute)
	for _, want := range []string{`<svg class="plot"`, "Likeness", "results/sample/", "As a table"} {
		if !strings.Contains(page, want) {
			t.Errorf("the training's page has no %q", want)
		}
	}
	checkPortraits(t, s, base)
}

// checkPortraits looks at what a training of two epochs has led to, then chooses otherwise.
func checkPortraits(t *testing.T, s http.Handler, base string) {
	t.Helper()
	page := ask(s, "GET", base+"/choose", "").Body.String()
	if !strings.Contains(page, `value="2/0.8"`) || !strings.Contains(page, `class="chosen"`) {
		t.Errorf("the choice: %s", page)
	}
	page = ask(s, "GET", base+"/pictures", "").Body.String()
	if !strings.Contains(page, "2 finished portraits") {
		t.Fatalf("the pictures: %s", page)
	}
	if page = ask(s, "GET", base+"/pictures/1", "").Body.String(); !strings.Contains(page, "data-crop=\"linkedin\"") || !strings.Contains(page, "data-compare") {
		t.Errorf("a picture: %s", page)
	}
	for file, size := range map[string]image.Point{"linkedin": {X: 1024, Y: 1024}, "cv": {X: 1024, Y: 1280}} {
		for _, query := range []string{"", "?" + file + "-x=1&" + file + "-y=2&" + file + "-w=90", "?" + file + "-x=-99&" + file + "-y=1e4&" + file + "-w=1e4"} {
			got := ask(s, "GET", base+"/pictures/1/"+file+".png"+query, "")
			img, err := png.Decode(got.Body)
			if err != nil || img.Bounds().Size() != size {
				t.Errorf("%s%s: %d, %v", file, query, got.Code, err)
			}
		}
	}
	all := ask(s, "GET", base+"/pictures/all.zip", "").Body.Bytes()
	z, err := zip.NewReader(bytes.NewReader(all), int64(len(all)))
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, f := range z.File {
		names[f.Name] = true
	}
	for _, want := range []string{"linkedin.png", "linkedin.jpg", "cv.png", "cv.jpg", "best/1.png", "best/2.png", "report.html"} {
		if !names[want] {
			t.Errorf("the zip has no %s: %v", want, names)
		}
	}
	post(t, s, base+"/choose", url.Values{"choice": {"1/0.8"}})
	page = untilSays(t, s, base+"/choose", "chosen by you", 3*time.Minute)
	if !strings.Contains(page, "Epoch 1 at weight 0.8") {
		t.Errorf("chosen by hand: %s", page)
	}
	untilSays(t, s, base+"/train/live", "See the pictures", 3*time.Minute)
}

// TestTrainForm fills in kohya's form: values stay, faults stand beside their fields, files of kohya's are read and written.
func TestTrainForm(t *testing.T) {
	s, _, _ := tinyStudio(t)
	data := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(data, tinyportrait.Photos()); err != nil {
		t.Fatal(err)
	}
	at := post(t, s, "/train", nil)
	if page := ask(s, "GET", at, "").Body.String(); !strings.Contains(page, `name="caption_extension" value=".txt"`) || strings.Contains(page, `class="fault`) {
		t.Error("a form that nobody has filled in is not kohya's, or complains")
	}
	form := url.Values{
		"output_name": {"somebody"}, "train_data_dir": {data}, "max_train_epochs": {"2"}, "train_batch_size": {"2"}, "network_dim": {"4"}, "network_alpha": {"4"},
		"unet_lr": {"1e-4"}, "text_encoder_lr": {"5e-5"}, "resolution": {"128"}, "enable_bucket": {"true"}, "min_bucket_reso": {"64"}, "prompts": {"photo of personname man --w 128 --h 128"},
		"conv_dim": {"2"},
	}
	post(t, s, at, form)
	page := untilSays(t, s, at, `class="big num"`, 2*time.Minute)
	for _, want := range []string{`value="somebody"`, `data-option="network_dim Network Rank (Dimension)"`, "--w 128 --h 128</textarea>", "photo of personname man"} {
		if !strings.Contains(page, want) {
			t.Errorf("the form has no %q", want)
		}
	}
	if page := ask(s, "GET", at+"/data", "").Body.String(); !strings.Contains(page, "12_personname man") || !strings.Contains(page, `scope="row">128x128`) {
		t.Errorf("the data set: %s", page)
	}
	if got := ask(s, "GET", at+"/data/photo?n=0", ""); got.Code != http.StatusOK || got.Header().Get("Content-Type") != "image/jpeg" {
		t.Errorf("a photo of it: %d", got.Code)
	}
	moved := maps.Clone(form)
	moved.Set("train_data_dir", data+"-moved")
	post(t, s, at, moved)
	untilSays(t, s, at+"/data", "There is no "+data+"-moved", time.Minute)
	wrong := maps.Clone(form)
	wrong.Set("network_dim", "many")
	got := ask(s, "POST", at, wrong.Encode()+"&do=start", "Accept", "text/html")
	if !regexp.MustCompile(`id="network_dim-help"><span class="fault">is &#34;many&#34;`).MatchString(got.Body.String()) || got.Code != http.StatusUnprocessableEntity {
		t.Errorf("%d: the fault does not stand beside its field", got.Code)
	}
	post(t, s, at, form)
	for _, ext := range []string{"json", "toml"} {
		file := ask(s, "GET", at+"/kohya."+ext, "").Body.Bytes()
		body, kind := upload(t, map[string][]byte{"kohya." + ext: file})
		got := ask(s, "POST", "/train", body, "Content-Type", kind)
		if got.Code != http.StatusSeeOther {
			t.Fatalf("%s: %d %s", ext, got.Code, got.Body)
		}
		again, err := s.trainings.get(path.Base(got.Header().Get("Location")))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"train_data_dir", "network_dim", "unet_lr", "text_encoder_lr", "conv_dim", "enable_bucket"} {
			a, err1 := strconv.ParseFloat(again.Values[name], 64)
			b, err2 := strconv.ParseFloat(form.Get(name), 64)
			if again.Values[name] != form.Get(name) && (a != b || err1 != nil || err2 != nil) {
				t.Errorf("%s: %s is %q, want %q", ext, name, again.Values[name], form.Get(name))
			}
		}
	}
	body, kind := upload(t, map[string][]byte{"kohya.json": []byte(`{"LoRA_type":"LyCORIS/LoHa"}`)})
	if got := ask(s, "POST", "/train", body, "Content-Type", kind); got.Code != http.StatusUnprocessableEntity || !strings.Contains(got.Body.String(), "LyCORIS/LoHa") {
		t.Errorf("another kind of network: %d", got.Code)
	}
}

// TestTrainRun trains with kohya's form on the tiny model.
func TestTrainRun(t *testing.T) {
	if testing.Short() {
		t.Skip("it trains")
	}
	s, lib, q := tinyStudio(t)
	tinyWorker(t, q, lib)
	data := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(data, tinyportrait.Photos()); err != nil {
		t.Fatal(err)
	}
	at := post(t, s, "/train", nil)
	run := post(t, s, at, url.Values{
		"do": {"start"}, "output_name": {"somebody"}, "train_data_dir": {data}, "max_train_steps": {"4"}, "network_dim": {"2"}, "network_alpha": {"2"}, "unet_lr": {"1e-4"}, "text_encoder_lr": {"5e-5"},
		"resolution": {"128"}, "prompts": {"photo of personname man --w 128 --h 128 --s 2"}, "sample_at_first": {"true"}, "save_every_n_steps": {"2"},
	})
	page := untilSays(t, s, run+"/live", "somebody.safetensors", 3*time.Minute)
	for _, want := range []string{`<svg class="plot"`, "results/sample/"} {
		if !strings.Contains(page, want) {
			t.Errorf("the run's page has no %q: %s", want, page)
		}
	}
}

// TestGallery looks at many pictures: pages follow each other without a gap, a text says how one was made, and can be searched.
func TestGallery(t *testing.T) {
	s, lib, _ := tinyStudio(t)
	const many = galleryStep + 5
	for i := range many {
		img := image.NewNRGBA(image.Rect(0, 0, 8, 8))
		text := fmt.Sprintf("a lighthouse number %d, <lora:x:0.5>\nNegative prompt: people\nSteps: 20, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7.0, Seed: %d, Size: 8x8", i, i)
		if _, err := lib.SavePicture(library.Txt2Img, sd.Picture{Image: img, Seed: int64(i), Infotext: text}); err != nil {
			t.Fatal(err)
		}
	}
	link := regexp.MustCompile(`href="(/gallery/picture/[^"]+)"`)
	seen := make(map[string]bool)
	next := "/gallery"
	for pages := 0; next != "" && pages < 5; pages++ {
		page := ask(s, "GET", next, "").Body.String()
		for _, m := range link.FindAllStringSubmatch(page, -1) {
			if seen[m[1]] {
				t.Errorf("%s is shown twice", m[1])
			}
			seen[m[1]] = true
		}
		next = ""
		if m := regexp.MustCompile(`hx-get="(/gallery/more[^"]+)"`).FindStringSubmatch(page); m != nil {
			next = strings.ReplaceAll(m[1], "&amp;", "&")
		}
	}
	if len(seen) != many {
		t.Errorf("%d pictures, want %d", len(seen), many)
	}
	page := ask(s, "GET", "/gallery?q=number+77", "").Body.String()
	found := link.FindAllStringSubmatch(page, -1)
	if len(found) != 1 {
		t.Fatalf("%d found: %s", len(found), page)
	}
	page = ask(s, "GET", found[0][1], "").Body.String()
	for _, want := range []string{"a lighthouse number 77", "Euler a", "Use these settings", "Verify"} {
		if !strings.Contains(page, want) {
			t.Errorf("the picture's page has no %q", want)
		}
	}
	file := ask(s, "GET", strings.Replace(found[0][1], "/picture/", "/file/", 1), "")
	if _, err := png.Decode(bytes.NewReader(file.Body.Bytes())); err != nil {
		t.Error(err)
	}
	body, kind := upload(t, map[string][]byte{"found.png": file.Body.Bytes()})
	if got := ask(s, "POST", "/gallery/text", body, "Content-Type", kind); got.Code != http.StatusOK || !strings.Contains(got.Body.String(), "a lighthouse number 77") {
		t.Errorf("a picture that was sent: %d", got.Code)
	}
	body, kind = upload(t, map[string][]byte{"found.png": []byte("no picture")})
	if got := ask(s, "POST", "/gallery/text", body, "Content-Type", kind); got.Code != http.StatusUnprocessableEntity {
		t.Errorf("no picture: %d", got.Code)
	}
}

// TestCompare tells pictures that are the same from others.
func TestCompare(t *testing.T) {
	a, b := image.NewNRGBA(image.Rect(0, 0, 4, 4)), image.NewNRGBA(image.Rect(0, 0, 4, 4))
	if says, same := compare(a, b); !same || !strings.Contains(says, "last bit") {
		t.Error(says)
	}
	b.Pix[0] = 100
	if says, same := compare(a, b); same || !strings.Contains(says, "6.2 % of the pixels differ, by up to 100") {
		t.Error(says)
	}
	if says, same := compare(a, image.NewNRGBA(image.Rect(0, 0, 4, 5))); same || !strings.Contains(says, "4 × 5") {
		t.Error(says)
	}
}
