package portrait_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/internal/picture"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/portrait"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/sd/infotext"
	"github.com/atelier-go/atelier/tinyportrait"
	"github.com/atelier-go/atelier/tinyportrait/drawn"
	"github.com/atelier-go/atelier/weights"
)

// smallJob is a whole job that takes seconds: it comes to files, not to likeness.
func smallJob(t *testing.T) portrait.Config {
	t.Helper()
	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	checkpoint, err := weights.OpenFS(tinyportrait.FS(), tinyportrait.Name, weights.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { checkpoint.Close() })
	return portrait.Config{
		Device: dev, Checkpoint: checkpoint, Detector: drawn.Detector{}, Photos: few(t, 5), Output: filepath.Join(t.TempDir(), "portraits"),
		Prepare: portrait.PrepareOptions{Name: "personname", Class: "man"},
		Recipe: func(s portrait.DataSet, c *weights.Checkpoint) train.Config {
			cfg := portrait.Recipe(s, c)
			cfg.Dataset.MaxTrainEpochs, cfg.Dataset.Sets[0].Subsets[0].Repeats, cfg.Dataset.Sets[0].BatchSize = 2, 1, 2
			cfg.Network.Dim, cfg.Network.Alpha, cfg.Network.ConvDim = 2, 2, 0
			return cfg
		},
		Score: portrait.ScoreOptions{Timesteps: []int{500}, Noises: 2}, Weights: []float64{0.8, 1},
		Pictures: portrait.Pictures{
			Prompt: "portrait of a man, red hair, {person} {lora}", Candidates: 3, Best: 2, Request: sd.Request{Steps: 3, Width: 128, Height: 128},
			Hires: &sd.Hires{Scale: 1.5, Upscaler: sd.Lanczos, Strength: new(0.3), Steps: 2},
		},
	}
}

// finish runs a job to its end, which is its last event.
func finish(t *testing.T, c portrait.Config) (events []portrait.Event, result portrait.Result) {
	t.Helper()
	for e, err := range portrait.Run(t.Context(), c) {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	last, ok := events[len(events)-1].(portrait.Finished)
	if !ok {
		t.Fatalf("the last event is %T", events[len(events)-1])
	}
	return events, last.Result
}

// times is the part of a report that no two jobs share.
var times = regexp.MustCompile(`(?s)<section id="time">.*?</section>`)

// left is the content of a job's final files, without the times.
func left(t *testing.T, c portrait.Config, result portrait.Result) map[string]string {
	t.Helper()
	files := make(map[string]string)
	for _, path := range result.Files() {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(c.Output, path)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.ToSlash(name)] = times.ReplaceAllString(string(data), "")
	}
	return files
}

// same reports files that are not as they should be.
func same(t *testing.T, got, want map[string]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d files, want %d", len(got), len(want))
	}
	for name, data := range want {
		if got[name] != data {
			t.Errorf("%s is another file: %d bytes, want %d", name, len(got[name]), len(data))
		}
	}
}

// TestRun goes the whole way: with all files as they should be, again, erased, with another prompt, and stopped at random moments.
func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("it does a whole job several times")
	}
	c := smallJob(t)
	events, result := finish(t, c)
	want := left(t, c, result)
	testEvents(t, c, events)
	testFiles(t, c, want)
	t.Run("again", func(t *testing.T) {
		events, result := finish(t, c)
		if len(events) != 1 {
			t.Errorf("%d events, first %T: want only that it is finished", len(events), events[0])
		}
		same(t, left(t, c, result), want)
	})
	t.Run("damaged", func(t *testing.T) {
		for _, name := range []string{"cv.png", "personname_lora_v1.safetensors", filepath.Join("work", "drawn", "2.png"), filepath.Join("work", "training", "person.safetensors")} {
			if err := os.WriteFile(filepath.Join(c.Output, name), []byte("damaged"), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		_, result := finish(t, c)
		same(t, left(t, c, result), want)
	})
	t.Run("interrupted", func(t *testing.T) { testInterrupted(t, c, events, want) })
	t.Run("no room", func(t *testing.T) { testNoRoom(t, c, want) })
	t.Run("another pick", func(t *testing.T) {
		c := c
		c.Pick = 2
		events, result := finish(t, c)
		testKeptStages(t, events, portrait.Publishing)
		if got := left(t, c, result); got["linkedin.png"] == want["linkedin.png"] || got["best/2.png"] != want["best/2.png"] {
			t.Error("another pick changes another file")
		}
	})
	t.Run("chosen by hand", func(t *testing.T) {
		c := c
		c.Epoch, c.Weight = 1, 0.4
		events, result := finish(t, c)
		testKeptStages(t, events, portrait.Drawing)
		for _, e := range events {
			if e, ok := e.(portrait.Chosen); ok && (e.Choice.Epoch.Number != 1 || e.Choice.Weight != 0.4 || !strings.Contains(e.Choice.Reason, "by hand")) {
				t.Errorf("%+v", e.Choice)
			}
		}
		got := left(t, c, result)
		if text, err := infotext.Read(strings.NewReader(got["linkedin.png"])); err != nil || !strings.Contains(text.Prompt, "<lora:personname_lora_v1:0.4>") {
			t.Errorf("%+v, %v", text, err)
		}
		if got["personname_lora_v1.safetensors"] == want["personname_lora_v1.safetensors"] {
			t.Error("the LoRA is still that of the epoch that was found best")
		}
		c.Epoch = 9
		for _, err := range portrait.Run(t.Context(), c) {
			if err != nil && !strings.Contains(err.Error(), "Config.Epoch is 9") {
				t.Error(err)
			}
		}
	})
	t.Run("erased, with another prompt", func(t *testing.T) {
		c := c
		c.Erase, c.Pictures.Prompt = true, "photo of {person}, green jacket"
		events, result := finish(t, c)
		testKeptStages(t, events, portrait.Drawing)
		testErased(t, c, result)
		events, _ = finish(t, c)
		if len(events) != 1 {
			t.Errorf("again: %d events", len(events))
		}
	})
}

// TestRunEnough ends a training after its first epoch, of which there is a picture.
func TestRunEnough(t *testing.T) {
	if testing.Short() {
		t.Skip("it trains")
	}
	c := smallJob(t)
	c.Samples, c.Enough = true, func() bool { return true }
	sampled := ""
	for e, err := range portrait.Run(t.Context(), c) {
		if err != nil {
			t.Fatal(err)
		}
		switch e := e.(type) {
		case portrait.Learning:
			switch e := e.Event.(type) {
			case train.Sampled:
				sampled = e.Path
			case train.StepDone:
				if e.Epoch != 1 {
					t.Fatalf("step %d of epoch %d", e.Step, e.Epoch)
				}
			}
		case portrait.Tried:
			if e.Trial.Epoch.Number != 1 {
				t.Errorf("epoch %d was tried", e.Trial.Epoch.Number)
			}
			if _, err := os.Stat(sampled); err != nil {
				t.Error(err)
			}
			return
		}
	}
	t.Error("nothing was tried")
}

// testEvents has all stages, each with its beginning and end, and the events that belong to them.
func testEvents(t *testing.T, c portrait.Config, events []portrait.Event) {
	var begun, done []portrait.Stage
	count := make(map[string]int)
	for _, e := range events {
		count[fmt.Sprintf("%T", e)]++
		switch e := e.(type) {
		case portrait.StageBegun:
			begun = append(begun, e.Stage)
		case portrait.StageDone:
			if done = append(done, e.Stage); e.Kept || e.Took <= 0 {
				t.Errorf("%+v", e)
			}
		case portrait.Progress:
			if e.Done < 0 || e.Done > e.Total || e.Unit == "" || e.Left < 0 {
				t.Errorf("%+v", e)
			}
		}
	}
	if !slices.Equal(begun, portrait.Stages) || !slices.Equal(done, portrait.Stages) {
		t.Errorf("begun %q, done %q", begun, done)
	}
	for kind, n := range map[string]int{"PhotoChecked": 5, "DataSetMade": 1, "Tried": 4, "Chosen": 1, "Drawn": c.Pictures.Candidates + c.Pictures.Best, "Ranked": 1, "Finished": 1} {
		if count["portrait."+kind] != n {
			t.Errorf("%d events %s, want %d", count["portrait."+kind], kind, n)
		}
	}
	if count["portrait.Learning"] < 4 || count["portrait.Warning"] == 0 {
		t.Errorf("events: %v", count)
	}
}

// testFiles looks at the final files as those do who get them.
func testFiles(t *testing.T, c portrait.Config, files map[string]string) {
	for name, size := range map[string]image.Point{"linkedin": image.Pt(1024, 1024), "cv": image.Pt(1024, 1280)} {
		text, err := infotext.Read(strings.NewReader(files[name+".png"]))
		seed, _ := text.Get("Seed")
		if err != nil || text.Prompt != "portrait of a man, red hair, personname man <lora:personname_lora_v1:"+weightIn(text.Prompt)+">" || seed == "" {
			t.Errorf("%s.png: %+v, %v", name, text, err)
		}
		for _, ext := range []string{".png", ".jpg"} {
			img, err := picture.Decode(t.Context(), []byte(files[name+ext]), picture.Limits{})
			if err != nil || img.Rect.Size() != size || len(files[name+ext]) > portrait.MaxJPEG {
				t.Errorf("%s%s: %v, %d bytes, %v", name, ext, img.Rect, len(files[name+ext]), err)
			}
		}
		photo := files[name+".jpg"]
		if strings.Contains(photo, "personname") || strings.Count(photo, "Exif\x00\x00") != 1 {
			t.Errorf("%s.jpg says more than its colours", name)
		}
		if _, err := jpeg.Decode(strings.NewReader(photo)); err != nil {
			t.Error(err)
		}
	}
	file := files["personname_lora_v1.safetensors"]
	for _, want := range []string{`"ss_output_name":"personname_lora_v1"`, `"ss_tag_frequency"`, `chosen by likeness`, "sshs_model_hash"} {
		if !strings.Contains(file, want) {
			t.Errorf("the LoRA's metadata lack %s", want)
		}
	}
	for _, no := range []string{"ss_session_id", "ss_training_started_at", c.Photos, c.Output} {
		if strings.Contains(file, no) {
			t.Errorf("the LoRA's metadata have %s", no)
		}
	}
	testReport(t, c, files["report.html"])
}

// weightIn is the weight of the tag in a prompt.
func weightIn(prompt string) string {
	_, weight, _ := strings.Cut(prompt, "_v1:")
	return strings.TrimSuffix(weight, ">")
}

// inline are pictures in a page.
var inline = regexp.MustCompile(`src="data:image/jpeg;base64,[^"]*"`)

// testReport holds the page to be one file that asks nobody for anything.
func testReport(t *testing.T, c portrait.Config, whole string) {
	page := inline.ReplaceAllString(whole, `src="data:image/jpeg;base64,"`)
	for _, no := range []string{"<script", "http:", "https:", "<link", "@import", "url(", c.Output, c.Photos, "ZgotmplZ", "NaN", "%!"} {
		if strings.Contains(page, no) {
			t.Errorf("the report has %q", no)
		}
	}
	for _, want := range []string{"prefers-color-scheme: dark", `name="viewport"`, "<svg", "standard errors", "001.jpg", "seed 1", "best/2.png", `id="next"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	if n := strings.Count(page, "<img"); n != 2+c.Pictures.Best+c.Pictures.Candidates+5 || strings.Count(page, `src="data:image/jpeg;base64,`) != n || strings.Count(page, " alt=") != n {
		t.Errorf("%d pictures", n)
	}
	if open, shut := strings.Count(page, "<section"), strings.Count(page, "</section>"); open != shut || open < 5 {
		t.Errorf("%d sections, %d ends", open, shut)
	}
}

// testKeptStages wants all stages before one to be kept, and those from it on to be done.
func testKeptStages(t *testing.T, events []portrait.Event, from portrait.Stage) {
	t.Helper()
	for _, e := range events {
		if e, ok := e.(portrait.StageDone); ok && e.Kept != (slices.Index(portrait.Stages, e.Stage) < slices.Index(portrait.Stages, from)) {
			t.Errorf("%s: kept is %v", e.Stage, e.Kept)
		}
	}
}

// testErased finds nothing any more that was made of the photos, and everything else listed.
func testErased(t *testing.T, c portrait.Config, result portrait.Result) {
	all := contents(t, c.Output)
	photos := contents(t, c.Photos)
	if len(photos) != 5 {
		t.Errorf("of the photos %d are left", len(photos))
	}
	for name := range all {
		if strings.HasPrefix(name, "work/data") {
			t.Errorf("%s is left", name)
		}
		if listed := slices.Contains(result.Remaining, filepath.Join(c.Output, filepath.FromSlash(name))); !listed && !strings.HasSuffix(name, ".json") {
			t.Errorf("%s is left and not said", name)
		}
	}
	if page := all["report.html"]; strings.Count(page, "<img") != 2+c.Pictures.Best+c.Pictures.Candidates || !strings.Contains(page, "erased") {
		t.Error("the report shows photos")
	}
}

// testInterrupted stops a job at random moments of every stage, by its context, by leaving the loop or, in three of the stages, by killing
// its process, and compares what it comes to in the end with what comes of a job that was left alone. With ATELIER_MOMENTS it is killed at
// so many moments of each stage.
func testInterrupted(t *testing.T, c portrait.Config, whole []portrait.Event, want map[string]string) {
	moments, killed := 1, []portrait.Stage{portrait.Training, portrait.Drawing, portrait.Publishing}
	if n, err := strconv.Atoi(os.Getenv("ATELIER_MOMENTS")); err == nil {
		moments, killed = n, portrait.Stages
	}
	c.Output = filepath.Join(t.TempDir(), "portraits")
	random := rand.New(rand.NewPCG(1, 2))
	stopped := make(map[string]int)
	for i := range moments * len(portrait.Stages) {
		m := momentOf(random, whole, portrait.Stages[i/moments], moments)
		var where portrait.Stage
		if slices.Contains(killed, m.stage) {
			where = killAt(t, c, m)
			stopped[fmt.Sprintf("%s killed", where)]++
		} else {
			where = stopAt(t, c, m, i%2 == 0)
			stopped[string(where)]++
		}
		if where == "" { // it had come to its end: its last stage is done again
			if err := os.Remove(filepath.Join(c.Output, "report.html")); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("stopped: %v", stopped)
	_, result := finish(t, c)
	same(t, left(t, c, result), want)
}

// moment is when a job is stopped: some time after so many events of a stage.
type moment struct {
	stage  portrait.Stage
	events int
	after  time.Duration
}

// momentOf is a random one in the first part of a stage, of as many parts as it is stopped in, because each time there is less left of it.
func momentOf(random *rand.Rand, whole []portrait.Event, stage portrait.Stage, parts int) moment {
	m, events, in := moment{stage: stage}, 0, false
	var took time.Duration
	for _, e := range whole {
		switch e := e.(type) {
		case portrait.StageBegun:
			in = e.Stage == stage
		case portrait.StageDone:
			if in {
				took = e.Took
			}
		default:
			if in {
				events++
			}
		}
	}
	m.events = random.IntN(events/parts + 1)
	m.after = time.Duration(random.Float64() * float64(took) / float64(events+1))
	return m
}

// stopAt runs a job up to a moment, ends it by its context or by leaving the loop, and tells the stage where that was; "" if it came to its
// end before.
func stopAt(t *testing.T, c portrait.Config, m moment, leave bool) (where portrait.Stage) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	in := false
	for e, err := range portrait.Run(ctx, c) {
		if err != nil {
			s, ok := errors.AsType[*portrait.StageError](err)
			if !ok || !errors.Is(err, context.Canceled) || slices.Index(portrait.Stages, s.Stage) < slices.Index(portrait.Stages, m.stage) {
				t.Fatalf("stopped in %s: %v", m.stage, err)
			}
			return s.Stage
		}
		if b, ok := e.(portrait.StageBegun); ok {
			in, where = in || b.Stage == m.stage, b.Stage
		}
		if !in {
			continue
		}
		if m.events--; m.events == -1 {
			if leave {
				return where
			}
			defer time.AfterFunc(m.after, cancel).Stop()
		}
	}
	return ""
}

// killedJob is the environment variable with the output and the photos of a job that TestKilledJob does.
const killedJob = "ATELIER_KILLED_JOB"

// killAt does a job in a process of its own, kills that at a moment, as a power cut or a lack of memory does, and tells the stage where that
// was; "" if it came to its end before.
func killAt(t *testing.T, c portrait.Config, m moment) (where portrait.Stage) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledJob$")
	child.Env = append(os.Environ(), killedJob+"="+c.Output+"\n"+c.Photos)
	out, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	in, killed := false, false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said, what, _ := strings.Cut(lines.Text(), " ")
		switch said {
		case "begun":
			where = portrait.Stage(what)
			in = in || where == m.stage
		case "error":
			t.Fatal(lines.Text())
		}
		if in {
			m.events--
		}
		if m.events == -1 {
			time.Sleep(m.after)
			if err := child.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Fatal(err)
			}
			killed = true
		}
	}
	switch err := child.Wait(); {
	case err == nil:
		return ""
	case !killed:
		t.Fatalf("it ended by itself in %s: %v", where, err)
	}
	return where
}

// TestKilledJob is the process that killAt begins: it tells of each event, and of each stage.
func TestKilledJob(t *testing.T) {
	output, photos, told := strings.Cut(os.Getenv(killedJob), "\n")
	if !told {
		t.Skip("it is run by TestRun, in a process of its own")
	}
	c := smallJob(t)
	c.Output, c.Photos = output, photos
	for e, err := range portrait.Run(t.Context(), c) {
		switch e := e.(type) {
		case portrait.StageBegun:
			fmt.Println("begun", e.Stage)
		case nil:
			fmt.Println("error", err)
		default:
			fmt.Println("event")
		}
	}
}

// TestRunRefuses tells before any work what cannot be, in the names of the fields.
func TestRunRefuses(t *testing.T) {
	good := smallJob(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*portrait.Config){
		"Config.Photos":                func(c *portrait.Config) { c.Photos = "" },
		"Config.Output":                func(c *portrait.Config) { c.Output = c.Photos },
		"Config.Output ":               func(c *portrait.Config) { c.Output = "" },
		"Config.Output  ":              func(c *portrait.Config) { c.Output = file },
		"Config.Others":                func(c *portrait.Config) { c.Others = "nowhere" },
		"Config.Weights":               func(c *portrait.Config) { c.Weights = []float64{3} },
		"Config.Pick":                  func(c *portrait.Config) { c.Pick = 3 },
		"Config.Prepare.Name":          func(c *portrait.Config) { c.Prepare.Name = "a/b" },
		"Config.Pictures.Preset":       func(c *portrait.Config) { c.Pictures.Preset = "passport" },
		"Config.Pictures.Candidates":   func(c *portrait.Config) { c.Pictures.Candidates = -1 },
		"Config.Pictures.Best":         func(c *portrait.Config) { c.Pictures.Best = -1 },
		"Config.Pictures.Request.Seed": func(c *portrait.Config) { c.Pictures.Request.Seed = -1 },
	} {
		c := good
		change(&c)
		for e, err := range portrait.Run(t.Context(), c) {
			if f := invalid.Fields(err); e != nil || len(f) == 0 || f[0].Field != strings.TrimSpace(name) {
				t.Errorf("%s: %v, %v", name, e, err)
			}
		}
	}
}

// TestRunPhotos has folders of photos as people have them too.
func TestRunPhotos(t *testing.T) {
	if testing.Short() {
		t.Skip("it looks for faces and makes data sets")
	}
	good := smallJob(t)
	for name, c := range map[string]struct {
		photos string
		say    []string
	}{
		"empty":   {t.TempDir(), []string{"no photos", "10 to 30"}},
		"missing": {filepath.Join(t.TempDir(), "nowhere"), []string{"nowhere"}},
		"no face": {faceless(t), []string{"none of the 3 photos", "the check says why", "CheckOptions.Keep"}},
	} {
		job := good
		job.Photos = c.photos
		var last error
		for _, err := range portrait.Run(t.Context(), job) {
			last = err
		}
		for _, say := range c.say {
			if last == nil || !strings.Contains(last.Error(), say) {
				t.Errorf("%s: %v, want %q", name, last, say)
			}
		}
	}
	testVideo(t, good)
}

// TestStageError says what to do where there is no room, and only there.
func TestStageError(t *testing.T) {
	for err, want := range map[error]bool{diskFull: true, fs.ErrPermission: false} {
		e := &portrait.StageError{Stage: portrait.Drawing, Output: "portraits", Err: &fs.PathError{Op: "write", Path: "1.png", Err: err}}
		if text := e.Error(); !strings.Contains(text, `stage "draw"`) || strings.Contains(text, "start again, and it goes on here") != want || !errors.Is(e, err) {
			t.Errorf("%v: %s", err, text)
		}
	}
}

// TestRunDrawsOthers has the model draw other people before it learns the person.
func TestRunDrawsOthers(t *testing.T) {
	long(t)
	c := smallJob(t)
	c.DrawOthers, c.Pictures.Request.Steps = 2, 1
	var set portrait.DataSet
	for e, err := range portrait.Run(t.Context(), c) {
		if err != nil {
			t.Fatal(err)
		}
		if made, ok := e.(portrait.DataSetMade); ok {
			set = made.DataSet
		}
		if done, ok := e.(portrait.StageDone); ok && done.Stage == portrait.Training {
			break
		}
	}
	files := contents(t, filepath.Join(c.Output, "work", "others"))
	if set.Others != filepath.Join(c.Output, "work", "others") || len(files) != 4 || files["002.txt"] != "photo of a man\n" {
		t.Errorf("others are in %s: %d files", set.Others, len(files))
	}
	c.Others = c.Photos
	for _, err := range portrait.Run(t.Context(), c) {
		if f := invalid.Fields(err); len(f) != 1 || f[0].Field != "Config.DrawOthers" {
			t.Errorf("with others of one's own: %v", err)
		}
	}
}

// testVideo has a video and three photos, which are few.
func testVideo(t *testing.T, good portrait.Config) {
	job := good
	job.Photos = few(t, 3)
	if err := os.WriteFile(filepath.Join(job.Photos, "clip.mp4"), []byte("\x00\x00\x00\x18ftypmp42"), 0o666); err != nil {
		t.Fatal(err)
	}
	video, warned := false, false
	for e, err := range portrait.Run(t.Context(), job) {
		if err != nil {
			t.Fatal(err)
		}
		switch e := e.(type) {
		case portrait.PhotoChecked:
			video = video || e.Photo.Name == "clip.mp4" && e.Photo.Verdict() == portrait.Drop
		case portrait.Warning:
			warned = warned || strings.Contains(e.Text, "3 photos")
		case portrait.DataSetMade:
			if len(e.DataSet.Training) != 3 {
				t.Errorf("%d are learned", len(e.DataSet.Training))
			}
		}
		if _, ok := e.(portrait.DataSetMade); ok {
			break
		}
	}
	if !video || !warned {
		t.Errorf("the video is said: %v, that three are few: %v", video, warned)
	}
}

// faceless is a folder of photos without a face.
func faceless(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewNRGBA(image.Rect(0, 0, 512, 512)), nil); err != nil {
		t.Fatal(err)
	}
	dir := few(t, 3)
	for name := range contents(t, dir) {
		if err := os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
