//go:build linux && amd64 && !purego && !race

// What drives the browser takes long to compile, so it is compiled for one system and one build: pages are the same in all of them.

package studio

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/face"
	"github.com/atelier-go/atelier/sd/infotext"
	"github.com/atelier-go/atelier/sd/prompt"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/studio/work"
	"github.com/atelier-go/atelier/tinyportrait"
	"github.com/atelier-go/atelier/tinyportrait/drawn"
	"github.com/atelier-go/atelier/weights"
)

// axe finds what keeps people from using a page: axe-core 4.14.1, from its npm package, under the Mozilla Public License 2.0.
//
//go:embed testdata/axe.min.js
var axe string

// TestBrowser uses the studio in a real browser, as a person does, from the first picture to portraits; then it looks at every page in three
// widths, light and dark.
//
// With ATELIER_SCREENSHOTS=FOLDER it keeps pictures of the pages there.
func TestBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("it draws and trains in a browser: a minute")
	}
	program := chromium()
	if program == "" {
		t.Skip("there is no Chromium")
	}
	h := openHouse(t)
	ctx, stop := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(1440, 900),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
	)...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	p := h.tab(t, ctx)
	pages := []string{"/portrait", "/draw", "/enlarge", "/train", "/gallery", "/queue", "/machine"}
	for _, step := range []struct {
		name string
		do   func(t *testing.T, p *tab) (pages []string)
	}{
		{"draw", drawsAndPreviews}, {"interrupt", interruptsFromAnotherTab}, {"inpaint", paintsAMask}, {"read", dropsAPicture}, {"grid", drawsAGrid}, {"enlarge", enlarges},
		{"train", trainsTwoEpochs}, {"lora", insertsALoRA}, {"words", choosesWords}, {"portrait", makesAPortrait},
	} {
		if !t.Run(step.name, func(t *testing.T) { pages = append(pages, step.do(t, p.in(t))...) }) {
			t.FailNow()
		}
	}
	for _, page := range pages {
		t.Run(strings.ReplaceAll(page, "/", " "), func(t *testing.T) { p.in(t).look(page) })
	}
}

func init() { inBrowser = chromium() != "" }

// chromium is the browser's program; "" if there is none.
func chromium() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "headless-shell"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// house is a studio that serves and works, with the tiny model.
type house struct {
	*Server
	url  string
	jobs *jobs.Queue
	dir  string // for files of the parts of the test, until all pages are looked at

	mu     sync.Mutex
	faults []string // what browsers complained of
}

func openHouse(t *testing.T) *house {
	data := t.TempDir()
	writeEmbedding(t, filepath.Join(data, "embeddings", "freckles.safetensors"))
	lib, err := library.Open(library.Options{DataDir: data, Embedded: tinyportrait.FS(), EmbeddedName: tinyportrait.Name})
	if err != nil {
		t.Fatal(err)
	}
	if err := lib.SaveStyle(prompt.Style{Name: "weather", Prompt: "{prompt}, in the rain"}); err != nil {
		t.Fatal(err)
	}
	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	q, faces := openQueue(t), drawn.Detector{}
	machine := work.NewMachine(dev, lib, work.Options{Dir: t.TempDir(), Faces: func(library.Checkpoint) work.Detector { return faces }, Portrait: smallPortrait})
	ctx, stop := context.WithCancel(context.Background())
	var working sync.WaitGroup
	working.Go(func() { q.Work(ctx, jobs.Worker{Name: "tiny", Handlers: machine.Handlers()}) })
	working.Go(func() { work.Collect(ctx, q, lib, slog.New(slog.DiscardHandler)) })
	t.Cleanup(func() {
		stop()
		working.Wait()
		machine.Close()
		dev.Close()
	})
	h := &house{jobs: q, dir: t.TempDir(), Server: newServer(t, Options{
		Queue: q, Library: lib, Machine: machine, Dir: t.TempDir(), Portrait: smallPortrait, Faces: func(library.Checkpoint) face.Detector { return faces }, Examine: func() string { return "cpu\n  2 workers" },
	})}
	serves := httptest.NewServer(h.Server)
	t.Cleanup(func() {
		h.Server.Close() // ends the streams of events, which the server waits for
		serves.Close()
	})
	h.url = serves.URL
	return h
}

// writeEmbedding writes a textual inversion of one vector for the tiny model.
func writeEmbedding(t *testing.T, path string) {
	t.Helper()
	const width = 64
	err := os.MkdirAll(filepath.Dir(path), 0o777)
	if err == nil {
		err = weights.Write(path, []weights.Tensor{{Name: "emb_params", DType: "F32", Shape: []int{1, width}, Data: make([]byte, 4*width)}}, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// latest is the job that was added last of a kind.
func (h *house) latest(kind string) (last jobs.Job) {
	for _, j := range h.jobs.Jobs() {
		if j.Kind == kind && j.Created.After(last.Created) {
			last = j
		}
	}
	return last
}

// complain notes what a browser has to complain of: errors on its console, exceptions, and that a page asked another host for something.
func (h *house) complain(event any) {
	says := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		says = fmt.Sprint(e.ExceptionDetails.Text, " ", e.ExceptionDetails.URL, ":", e.ExceptionDetails.LineNumber)
		if e.ExceptionDetails.Exception != nil {
			says += " " + e.ExceptionDetails.Exception.Description
		}
	case *network.EventRequestWillBeSent:
		if at, err := url.Parse(e.Request.URL); err != nil || at.Host != "" && h.url != at.Scheme+"://"+at.Host {
			says = "it asks for " + e.Request.URL
		}
	}
	if says != "" {
		h.mu.Lock()
		h.faults = append(h.faults, says)
		h.mu.Unlock()
	}
}

// tab is a tab of the browser, in a test that ends if something in it cannot be done.
type tab struct {
	*house
	t   *testing.T
	ctx context.Context
}

// tab opens one; what it complains of fails the test.
func (h *house) tab(t *testing.T, ctx context.Context) *tab {
	t.Helper()
	if err := chromedp.Listen(ctx, h.complain); err != nil {
		t.Fatal(err)
	}
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			if m.Type == chromedp.ConsoleError || m.Type == chromedp.ConsoleWarning {
				h.mu.Lock()
				h.faults = append(h.faults, fmt.Sprint(m, " ", m.URL, ":", m.Line))
				h.mu.Unlock()
			}
		}
	}()
	return &tab{h, t, ctx}
}

// in is the tab within a part of the test, at whose end nothing was complained of.
func (p *tab) in(t *testing.T) *tab {
	t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, says := range p.faults {
			t.Error("the browser complains: ", says)
		}
		p.faults = nil
	})
	return &tab{p.house, t, p.ctx}
}

// do does what a person does, within a minute.
func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, stop := context.WithTimeout(p.ctx, time.Minute)
	defer stop()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatalf("%v; the page is %s", err, p.text(`location.pathname + " " + ([...document.querySelectorAll(".fault, .said")].map((f) => f.textContent).join(" ") + document.querySelector("main").innerText).replaceAll(/\s+/g, " ").slice(0, 1500)`))
	}
}

// open goes to a page.
func (p *tab) open(path string) { p.t.Helper(); p.do(chromedp.Navigate(p.url + path)) }

// choose gives files to an input. Right after a page has come, the browser may number its nodes anew.
func (p *tab) choose(selector string, files []string) {
	p.t.Helper()
	ctx, stop := context.WithTimeout(p.ctx, time.Minute)
	defer stop()
	for {
		err := chromedp.Do(ctx, chromedp.SetUploadFiles(chromedp.CSS(selector), files))
		if err == nil {
			return
		}
		if !strings.Contains(err.Error(), "Could not find node with given id") {
			p.t.Fatal(err)
		}
	}
}

// place is where the middle of an element is, which is brought into view, as soon as it rests there: what is above may come late.
func (p *tab) place(selector string) (x, y float64) {
	p.t.Helper()
	look := fmt.Sprintf(`(() => { const e = document.querySelector(%q); if (document.readyState !== "complete" || !e?.checkVisibility()) return ""; e.scrollIntoView({ block: "center", behavior: "instant" }); const r = e.getBoundingClientRect(); return JSON.stringify([r.x + r.width / 2, r.y + r.height / 2]) })()`, selector)
	at := ""
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		before := at
		if at = p.text(look); at != "" && at == before {
			break
		}
		if time.Now().After(end) {
			p.t.Fatalf("%s is not there, or does not rest", selector)
		}
	}
	var xy [2]float64
	if err := json.Unmarshal([]byte(at), &xy); err != nil {
		p.t.Fatalf("%s: %v in %q", selector, err, at)
	}
	return xy[0], xy[1]
}

// click clicks on the middle of an element.
func (p *tab) click(selector string) { p.t.Helper(); p.do(chromedp.MouseClickXY(p.place(selector))) }

// slide clicks on a slider where so much of it is to the left, and wants it to have changed what an expression comes to.
func (p *tab) slide(selector string, part float64, changes string) {
	p.t.Helper()
	before := p.text(changes)
	for end := time.Now().Add(time.Minute); p.text(changes) == before; { // what is above may come late and move it from under the pointer: then once more
		if time.Now().After(end) {
			p.t.Fatalf("%s stays %s however %s is moved", changes, before, selector)
		}
		x, y := p.place(selector)
		var wide float64
		if err := json.Unmarshal([]byte(p.text(fmt.Sprintf(`document.querySelector(%q).offsetWidth`, selector))), &wide); err != nil {
			p.t.Fatal(err)
		}
		p.do(chromedp.MouseClickXY(x+(part-0.5)*wide, y))
		for i := 0; i < 20 && p.text(changes) == before; i++ {
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// key presses a key with others held down.
func (p *tab) key(key string, held ...chromedp.KeyOption) {
	p.t.Helper()
	p.do(chromedp.KeyEvent(key, held...))
}

// focus gives an element the keyboard.
func (p *tab) focus(selector string) {
	p.t.Helper()
	p.until(fmt.Sprintf(`document.readyState === "complete" && (document.querySelector(%[1]q).focus(), document.activeElement === document.querySelector(%[1]q))`, selector))
}

// write puts a text in place of what a control has, by the keyboard.
func (p *tab) write(selector, text string) {
	p.t.Helper()
	p.focus(selector)
	p.text(`document.activeElement.select()`)
	p.do(chromedp.KeyEvent(text))
}

// set gives values to controls, by their names.
func (p *tab) set(values map[string]string) {
	p.t.Helper()
	for _, name := range slices.Sorted(maps.Keys(values)) {
		p.text(fmt.Sprintf(`(() => { const c = document.querySelector('[name=%q]'), v = %q; if (c.type === "checkbox") c.checked = v !== ""; else c.value = v; c.dispatchEvent(new Event("input", { bubbles: true })); return "" })()`, name, values[name]))
	}
}

// text is what an expression of JavaScript comes to; "" while the page changes.
func (p *tab) text(expression string) string {
	ctx, stop := context.WithTimeout(p.ctx, time.Minute)
	defer stop()
	text, _ := chromedp.Run(ctx, chromedp.Evaluate[string]("String("+expression+")"))
	return text
}

// until waits until an expression of JavaScript is true.
func (p *tab) until(expression string) {
	p.t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(30 * time.Millisecond) {
		if p.text("Boolean("+expression+")") == "true" {
			return
		}
	}
	p.t.Fatalf("%s is not so; the page is %s", expression, p.text(`location.pathname + " " + ([...document.querySelectorAll(".fault, .said")].map((f) => f.textContent).join(" ") + document.querySelector("main").innerText).replaceAll(/\s+/g, " ").slice(0, 1500)`))
}

// file is what the studio answers.
func (p *tab) file(path string) []byte {
	p.t.Helper()
	got := ask(p.Server, "GET", path, "")
	if got.Code != http.StatusOK {
		p.t.Fatalf("%s: %d %s", path, got.Code, got.Body)
	}
	return got.Body.Bytes()
}

// picture is a result of a job.
func (p *tab) picture(j jobs.Job, name string) image.Image {
	p.t.Helper()
	img, err := png.Decode(bytes.NewReader(p.file("/api/v1/jobs/" + j.ID + "/files/" + name)))
	if err != nil {
		p.t.Fatal(err)
	}
	return img
}

// drop drags files over an element and lets them go.
func (p *tab) drop(selector string, files ...string) {
	p.t.Helper()
	x, y := p.place(selector)
	for _, kind := range []input.DispatchDragEventType{input.DispatchDragEventTypeDragEnter, input.DispatchDragEventTypeDragOver, "drop"} {
		if _, err := chromedp.Call(p.ctx, input.DispatchDragEvent, input.DispatchDragEventParams{
			Type: kind, X: x, Y: y, Data: &input.DragData{Items: []*input.DragDataItem{}, Files: files, DragOperationsMask: 1},
		}); err != nil {
			p.t.Fatal(err)
		}
	}
}

// redHair is what the first picture shows.
const redHair = "portrait of a woman, red hair"

// first is the job of the first picture.
func (p *tab) first() (first jobs.Job) {
	for _, j := range p.jobs.Jobs() {
		if j.Kind == work.DrawKind && (first.ID == "" || j.Created.Before(first.Created)) {
			first = j
		}
	}
	return first
}

// drawsAndPreviews draws with a preview that grows into the picture, changes a weight by the keyboard and sees the tokens counted.
func drawsAndPreviews(t *testing.T, p *tab) []string {
	p.open("/draw")
	p.write("#prompt", redHair)
	p.set(map[string]string{"width": "128", "height": "128", "steps": "24", "seed": "7"})
	p.until(`/^\d+\/75$/.test(document.querySelector("#prompt-count").value) && document.querySelector("#prompt-count").value !== "0/75"`)
	p.text(`window.shown = [], new MutationObserver(() => shown.push(document.querySelector("#picture").src)).observe(document.querySelector("#picture"), { attributeFilter: ["src"] })`)
	p.click("#go")
	p.until(`document.querySelector("#stage").dataset.file === "0.png" && document.querySelector("#picture").naturalWidth === 128 && document.querySelector("#picture").src.endsWith("0.png")`)
	if n := p.text(`new Set(shown.filter((u) => u.includes("/preview"))).size`); n == "0" || n == "" {
		t.Error("no preview was shown")
	}
	p.weigh(23, 23, kb.ArrowUp, "portrait of a woman, (red:1.1) hair")
	p.weigh(23, 23, kb.ArrowDown, redHair)
	p.weigh(21, 29, kb.ArrowDown, "portrait of a woman, (red hair:0.9)")
	p.weigh(22, 30, kb.ArrowUp, redHair)
	for _, one := range []struct{ key, want string }{{kb.ArrowLeft, "red hair, portrait of a woman"}, {kb.ArrowRight, redHair}} {
		p.key(one.key, chromedp.KeyModifiers(chromedp.ModifierAlt))
		if got := p.text(`document.querySelector("#prompt").value`); got != one.want {
			t.Errorf("moved, it is %q, want %q", got, one.want)
		}
	}
	p.write("#prompt", "דיוקן (אדום:1.2)")
	p.until(`document.querySelector("#prompt").matches(":dir(rtl)") && document.querySelector(".under").matches(":dir(rtl)") && document.querySelector(".under mark")`)
	p.write("#prompt", redHair)
	return []string{"/draw?job=" + p.first().ID + "&file=0.png"}
}

// weigh selects a part of the prompt, or puts the cursor there, and changes its weight by the keyboard.
func (p *tab) weigh(from, to int, key, want string) {
	p.t.Helper()
	p.focus("#prompt")
	p.text(fmt.Sprintf(`document.querySelector("#prompt").setSelectionRange(%d, %d)`, from, to))
	p.key(key, chromedp.KeyModifiers(chromedp.ModifierCtrl))
	if got := p.text(`document.querySelector("#prompt").value`); got != want {
		p.t.Errorf("weighed from %d to %d, it is %q, want %q", from, to, got, want)
	}
}

// interruptsFromAnotherTab reloads while something is drawn, sees it in a second tab, and interrupts it there: first after this picture, then by
// Esc at once.
func interruptsFromAnotherTab(t *testing.T, p *tab) []string {
	ctx, stop := chromedp.NewContext(p.ctx)
	defer stop()
	second := p.tab(t, ctx)
	p.set(map[string]string{"width": "256", "height": "256", "steps": "150", "count": "2"})
	p.click("#go")
	const moves = `document.querySelector("#go").textContent.startsWith("Interrupt") && document.querySelector("#progress progress").value > 0`
	p.until(moves)
	second.open("/draw")
	second.until(firstPaint + ".length")
	t.Logf("first paint of Draw while it computes: after %s ms", second.text(firstPaint+"[0].startTime.toFixed()"))
	p.do(chromedp.Reload())
	for _, one := range []*tab{second, p} {
		one.until(moves)
		if got := one.text(`document.querySelector("#prompt").value + document.querySelector("#steps").value`); got != redHair+"150" {
			t.Errorf("the form has %q", got)
		}
	}
	second.click("#go")
	second.until(`document.querySelector("#go").textContent === "Interrupt now"`)
	second.key(kb.Escape)
	for _, one := range []*tab{p, second} {
		one.until(`document.querySelector("#go").textContent === "Generate" && document.querySelector("#stage").dataset.file === "0-incomplete.png"`)
	}
	if j := p.latest(work.DrawKind); j.State != jobs.Done || !j.Partial {
		t.Errorf("the job is %s, in part %v", j.State, j.Partial)
	}
	return nil
}

// paintsAMask draws a part of the first picture anew, which is sent to the canvas from its result.
func paintsAMask(t *testing.T, p *tab) []string {
	p.open("/draw?job=" + p.first().ID + "&file=0.png")
	p.click("#below [formaction^='/draw/send/inpaint/']")
	p.until(`document.querySelector("#image").value && document.querySelector("#before").naturalWidth === 128 && document.querySelector("[data-tool=brush]").getAttribute("aria-pressed") === "true"`)
	p.set(map[string]string{"steps": "8", "strength": "0.9", "mask_blur": "2", "count": "1"})
	p.text(`document.querySelector("#brush-size").value = 40`)
	x, y := p.place("#stage")
	p.do(chromedp.MouseEvent(input.DispatchMouseEventTypeMousePressed, x-30, y, chromedp.ButtonLeft, chromedp.ClickCount(1)),
		chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, x+30, y, chromedp.ButtonLeft),
		chromedp.MouseEvent(input.DispatchMouseEventTypeMouseReleased, x+30, y, chromedp.ButtonLeft, chromedp.ClickCount(1)))
	p.until(`document.querySelector("#mask-name").value`)
	before := p.latest(work.DrawKind).ID
	p.click("#go")
	p.until(`document.querySelector("#stage").dataset.job !== "` + before + `" && document.querySelector("#stage").dataset.file === "0.png"`)
	j := p.latest(work.DrawKind)
	was, is := p.picture(p.first(), "0.png"), p.picture(j, "0.png")
	differs := func(x, y int) bool {
		r1, g1, b1, _ := was.At(x, y).RGBA()
		r2, g2, b2, _ := is.At(x, y).RGBA()
		return r1 != r2 || g1 != g2 || b1 != b2
	}
	inside, outside := 0, 0
	for x := range 128 {
		if differs(x, 64) && x >= 48 && x < 80 {
			inside++
		}
		if differs(x, 4) || differs(x, 123) {
			outside++
		}
	}
	if inside < 16 || outside > 0 {
		t.Errorf("%d of 32 pixels under the brush were drawn anew, and %d far from it", inside, outside)
	}
	p.until(`!document.querySelector("#compare-tools").hidden`)
	page := "/draw?job=" + j.ID + "&file=0.png"
	p.open(page)
	p.until(`!document.querySelector("#compare-tools").hidden`)
	const uncovered = `document.querySelector("#picture").style.clipPath`
	p.slide("#compare", 0.5, uncovered)
	p.slide("#compare", 0.9, uncovered)
	p.key(kb.Home)
	p.until(uncovered + ` === "" && document.querySelector("#compare").value === "0"`)
	return []string{page}
}

// dropsAPicture drops a PNG on the prompt, which has its settings then, takes them from there, and removes the picture on the canvas.
func dropsAPicture(t *testing.T, p *tab) []string {
	name := filepath.Join(t.TempDir(), "found.png")
	if err := os.WriteFile(name, p.file("/api/v1/jobs/"+p.first().ID+"/files/0.png"), 0o666); err != nil {
		t.Fatal(err)
	}
	p.open("/draw")
	p.write("#prompt", "something else")
	p.set(map[string]string{"seed": "-1", "steps": "3", "cfg": "2"})
	p.drop(".words", name)
	p.until(`["prompt", "seed", "steps", "cfg", "width"].map((name) => document.getElementById(name).value).join("|") === "` + redHair + `|7|24|7|128"`)
	if p.text(`document.querySelector("#unset").hidden`) == "false" {
		p.click("#unset")
	}
	p.drop("#stage", name)
	p.until(`document.querySelector("#image").value && document.querySelector("#before").naturalWidth === 128 && !document.querySelector("#before").hidden`)
	p.click("#unset")
	p.until(`document.querySelector("#image").value === "" && document.querySelector("#before").hidden`)
	return nil
}

// drawsAGrid compares seeds and numbers of steps.
func drawsAGrid(t *testing.T, p *tab) []string {
	p.open("/draw")
	p.text(`document.querySelector("#fold-grid").open = true`)
	p.set(map[string]string{"width": "64", "height": "64", "x_axis": "Seed", "x_values": "7-9", "y_axis": "Steps", "y_values": "1, 2"})
	if got := p.text(`document.querySelector("[data-sum=grid]").textContent`); !strings.Contains(got, "Seed") {
		t.Errorf("the fold says %q", got)
	}
	p.click("#go")
	p.until(`document.querySelector("#stage").dataset.file === "grid.png" && document.querySelectorAll("#below .strip img").length === 7`)
	j := p.latest(work.DrawKind)
	text, err := infotext.Read(bytes.NewReader(p.file("/api/v1/jobs/" + j.ID + "/files/grid.png")))
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := text.Get("X Values"); got != "7, 8, 9" {
		t.Errorf("the sheet says of its columns %q", got)
	}
	if got := p.picture(j, "grid.png").Bounds(); got.Dx() < 3*64 || got.Dy() < 2*64 {
		t.Errorf("the sheet is %v", got)
	}
	p.set(map[string]string{"x_axis": "", "y_axis": "", "width": "128", "height": "128"})
	p.until(`document.querySelector("[data-sum=grid]").textContent === "none"`)
	return []string{"/draw?job=" + j.ID + "&file=grid.png"}
}

// enlarges sends a picture to where it is made larger, and compares.
func enlarges(t *testing.T, p *tab) []string {
	p.open("/draw?job=" + p.first().ID + "&file=0.png")
	p.click("#below [formaction^='/draw/send/enlarge/']")
	p.until(`location.pathname === "/enlarge" && document.querySelectorAll("#pictures [name=picture]").length === 1`)
	p.set(map[string]string{"upscaler": "Lanczos", "scale": "3"})
	p.click("#go")
	p.until(`document.querySelector("#picture")?.naturalWidth === 384 && document.querySelector("#compare")`)
	p.slide("#compare", 0.2, `document.querySelector("#picture").style.clipPath`)
	j := p.latest(work.UpscaleKind)
	if got := p.picture(j, "0.png").Bounds().Dx(); got != 384 {
		t.Errorf("it is %d pixels wide", got)
	}
	return []string{"/enlarge?job=" + j.ID}
}

// trainsTwoEpochs fills in kohya's form, finds a setting by kohya's name, sees the curve grow and stops behind the second epoch. No machine is
// quick enough to be through with all that is asked for.
func trainsTwoEpochs(t *testing.T, p *tab) []string {
	data := filepath.Join(p.dir, "photos")
	photos := filepath.Join(data, "12_personname man")
	if err := os.MkdirAll(photos, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, content := range samplePhotos(t, 4) {
		if err := os.WriteFile(filepath.Join(photos, name), content, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	p.open("/train")
	p.click("form[action='/train'] button.go")
	p.until(`document.querySelector("#output_name")`)
	form := p.text(`location.pathname`)
	p.write("#find", "min snr")
	p.until(`document.querySelector("[data-section] [data-option^='min_snr_gamma ']").checkVisibility() && [...document.querySelectorAll("[data-section] [data-option]")].filter((f) => f.checkVisibility()).length < 4`)
	p.do(chromedp.KeyEvent(kb.Escape))
	p.set(map[string]string{
		"output_name": "somebody", "train_data_dir": data, "max_train_epochs": "500", "train_batch_size": "1", "network_dim": "2", "network_alpha": "2", "unet_lr": "1e-4", "text_encoder_lr": "5e-5",
		"resolution": "64", "min_bucket_reso": "64", "prompts": "photo of personname man --w 64 --h 64 --s 2", "sample_every_n_epochs": "1", "save_every_n_epochs": "1", "caption_extension": ".txt",
	})
	p.until(`document.querySelector("#report .big")?.textContent === "24000 steps"`)
	p.click("button[name=do][value=start]")
	p.until(`location.pathname.startsWith("/runs/")`)
	run := p.text(`location.pathname`)
	const points = `(document.querySelector("svg.plot polyline")?.points.length ?? 0)`
	p.until(points + ` > 0`)
	p.until(points + ` > ` + p.text(points) + ` && document.querySelectorAll("[aria-label=Epochs] tbody tr").length >= 2`)
	p.click("button[name=do][value=stop]")
	p.until(`[...document.querySelectorAll("a[download]")].some((a) => a.textContent === "somebody.safetensors") && document.querySelector(".filmstrip img")?.naturalWidth === 64`)
	return []string{form, form + "/data", run}
}

// insertsALoRA puts the card of the LoRA that was trained into the prompt, draws with it and takes it out again.
func insertsALoRA(t *testing.T, p *tab) []string {
	for end := time.Now().Add(time.Minute); len(p.options.Library.LoRAs()) == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the LoRA is not in the library")
		}
	}
	p.open("/draw")
	p.write("#prompt", redHair)
	p.set(map[string]string{"steps": "2", "width": "64", "height": "64"})
	p.click(".card")
	p.until(`document.querySelector("#prompt").value.startsWith("` + redHair + `, <lora:somebody:1>") && document.querySelector(".card").ariaPressed === "true"`)
	in := len(redHair) + len(", <lora")
	rest := strings.TrimPrefix(p.text(`document.querySelector("#prompt").value`), redHair+", <lora:somebody:1>")
	p.weigh(in, in, kb.ArrowUp, redHair+", <lora:somebody:1.05>"+rest)
	p.weigh(in, in, kb.ArrowDown, redHair+", <lora:somebody:1>"+rest)
	text := p.drawByKey()
	if hashes, _ := text.Get("Lora hashes"); !strings.HasPrefix(hashes, "somebody: ") {
		t.Errorf("it was drawn with %q", hashes)
	}
	p.click(".card")
	p.until(`document.querySelector("#prompt").value === "` + redHair + `" && document.querySelector(".card").ariaPressed === "false"`)
	return nil
}

// drawByKey draws by Ctrl+Enter and returns what the picture's text says.
func (p *tab) drawByKey() infotext.Text {
	p.t.Helper()
	before := p.latest(work.DrawKind).ID
	p.focus("#prompt")
	p.key("\r", chromedp.KeyModifiers(chromedp.ModifierCtrl))
	p.until(`document.querySelector("#stage").dataset.job !== "` + before + `" && document.querySelector("#stage").dataset.file === "0.png"`)
	text, err := infotext.Read(bytes.NewReader(p.file("/api/v1/jobs/" + p.latest(work.DrawKind).ID + "/files/0.png")))
	if err != nil {
		p.t.Fatal(err)
	}
	return text
}

// choosesWords puts an embedding's card and a style into the prompt, draws with them after a reload, and takes them out again.
func choosesWords(t *testing.T, p *tab) []string {
	p.click("[data-cards=embeddings]")
	const card, style = ".card[data-name=freckles]", "[name=styles][value=weather]"
	p.click(card)
	p.until(`document.querySelector("#prompt").value === "` + redHair + `, freckles" && document.querySelector("` + card + `").ariaPressed === "true"`)
	p.text(`document.querySelector("` + style + `").closest("details").open = true`)
	p.click(style)
	p.until(`document.querySelector("[data-styles]").textContent === "weather"`)
	for end := time.Now().Add(time.Minute); p.kept(p.ctx)["styles"] != "weather"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the form is not kept")
		}
	}
	p.open("/draw")
	p.until(`document.querySelector("` + style + `").checked && document.querySelector("#prompt").value === "` + redHair + `, freckles"`)
	text := p.drawByKey()
	if hashes, _ := text.Get("TI hashes"); !strings.HasPrefix(hashes, "freckles: ") || text.Prompt != redHair+", freckles, in the rain" {
		t.Errorf("it was drawn with %q of %q", hashes, text.Prompt)
	}
	p.click("[data-cards=embeddings]")
	p.click(card)
	p.click(style)
	p.until(`document.querySelector("#prompt").value === "` + redHair + `" && document.querySelector("[data-styles]").textContent === ""`)
	return nil
}

// makesAPortrait goes through the five steps with sample photos.
func makesAPortrait(t *testing.T, p *tab) []string {
	dir := t.TempDir()
	var files []string
	for name, content := range samplePhotos(t, 5) {
		files = append(files, filepath.Join(dir, name))
		if err := os.WriteFile(files[len(files)-1], content, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	p.open("/portrait")
	p.choose("input[name=photos]", files)
	p.until(`location.pathname.endsWith("/photos") && document.body.innerText.includes("5 of 5 kept")`)
	base := strings.TrimSuffix(p.text(`location.pathname`), "/photos")
	p.focus("[data-shots] > li")
	p.do(chromedp.KeyEvent("d"))
	p.until(`document.body.innerText.includes("4 of 5 kept") && document.activeElement.matches("[data-shots] > li:nth-child(2)")`)
	p.do(chromedp.KeyEvent(kb.ArrowLeft), chromedp.KeyEvent("k"))
	p.until(`document.body.innerText.includes("5 of 5 kept")`)
	p.click("#photos a.go")
	p.until(`location.pathname.endsWith("/person")`)
	p.write("#name", "personname")
	p.click("input[name=class][value=man]")
	p.click("button[value=train]")
	p.until(`location.pathname.endsWith("/train")`)
	p.click("button[value=start]")
	p.until(`document.body.innerText.includes("See the pictures") && document.querySelectorAll("svg.plot").length === 2`)
	checkPortraits(t, p.Server, base)
	p.open(base + "/pictures/1")
	p.slide("#linkedin-w", 0.5, `document.querySelector("[data-crop=linkedin] .seen").getAttribute("viewBox")`)
	left := p.text(`document.querySelector("#linkedin-x").value`)
	x, y := p.place("[data-crop=linkedin] svg.stage")
	p.do(chromedp.DragAndDropXY(x, y, x+60, y))
	if got := p.text(`document.querySelector("#linkedin-x").value`); got == left {
		t.Errorf("dragging leaves the crop at %s from the left", got)
	}
	p.slide("#cut-at", 0.2, `document.querySelector("#cut rect").getAttribute("width")`)
	pages := []string{base}
	for _, step := range steps {
		pages = append(pages, base+"/"+step.Name)
	}
	return append(pages[1:], base+"/pictures/1")
}

// firstPaint are the entries about when a page was first seen.
const firstPaint = `[...performance.getEntriesByName("first-contentful-paint")]`

// widths are those of a desk, a tablet and a phone, in pixels.
var widths = []int64{1440, 1024, 390}

// look looks at a page: nothing reaches beyond it in any width, nothing keeps people from using it in light or dark, and it was painted.
func (p *tab) look(page string) {
	if page == "/gallery" {
		p.t.Cleanup(func() {
			if link := p.text(`document.querySelector(".thumbs a")?.getAttribute("href") ?? ""`); link != "" {
				p.look(link)
			}
		})
	}
	p.open(page)
	p.until(firstPaint + ".length")
	p.t.Logf("first paint after %s ms", p.text(firstPaint+"[0].startTime.toFixed()"))
	if _, err := chromedp.Run(p.ctx, chromedp.Evaluate[chromedp.Void](axe+"; undefined")); err != nil {
		p.t.Fatal(err)
	}
	for _, theme := range []string{"light", "dark"} {
		if _, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}}); err != nil {
			p.t.Fatal(err)
		}
		for _, width := range widths {
			p.do(chromedp.EmulateViewport(width, 900))
			if got := p.text(`document.documentElement.scrollWidth - innerWidth`); got != "0" && !strings.HasPrefix(got, "-") {
				p.t.Errorf("at %d pixels it is %s pixels too wide", width, got)
			}
			p.keep(page, theme, width)
		}
		p.do(chromedp.EmulateViewport(widths[0], 900))
		p.accessible(theme)
	}
}

// accessible fails for what axe calls serious or critical; in the dark only colours are others.
func (p *tab) accessible(theme string) {
	rules := `{ type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }`
	if theme == "dark" {
		rules = `{ type: "rule", values: ["color-contrast"] }`
	}
	found, err := chromedp.Run(p.ctx, chromedp.Evaluate[[]string](`axe.run(document, { resultTypes: ["violations"], runOnly: `+rules+` }).then((found) => found.violations
		.filter((v) => ["serious", "critical"].includes(v.impact)).flatMap((v) => v.nodes.map((n) => v.id + " at " + n.target + ": " + n.failureSummary + " " + n.html.slice(0, 200))))`, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, fault := range found {
		p.t.Errorf("%s: %s", theme, fault)
	}
}

// keep keeps a picture of the page if somebody wants to look at it.
func (p *tab) keep(page, theme string, width int64) {
	dir := os.Getenv("ATELIER_SCREENSHOTS")
	if dir == "" {
		return
	}
	at, err := url.Parse(page)
	if err != nil {
		p.t.Fatal(err)
	}
	name := strings.ReplaceAll(strings.Trim(at.Path, "/"), "/", "-")
	if at.RawQuery != "" {
		name += "-" + at.Query().Get("job")[:4] + strings.TrimSuffix(at.Query().Get("file"), path.Ext(at.Query().Get("file")))
	}
	picture, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d-%s.png", name, width, theme)), picture, fs.FileMode(0o666))
	}
	if err != nil {
		p.t.Fatal(err)
	}
}
