package studio

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/atelier-go/atelier/studio/api"
	"github.com/atelier-go/atelier/studio/jobs"
)

// room is an entry of the rail, which every page has.
type room struct{ Name, Path string }

// rooms are the rooms, in the rail's order.
var rooms = []room{
	{"Portrait", "/portrait"},
	{"Draw", "/draw"},
	{"Train", "/train"},
	{"Gallery", "/gallery"},
	{"Queue", "/queue"},
	{"Machine", "/machine"},
}

//go:embed templates
var templateFiles embed.FS

// pages are the templates of pages by their names: templates/NAME.html, which defines "main" and may define "scripts" and fragments.
// layout.html is around each of them, and what shared.html defines is known to all.
type pages map[string]*template.Template

// parsePages reads the templates.
func parsePages() (pages, error) {
	base, err := template.New("layout").Funcs(words).ParseFS(templateFiles, "templates/layout.html", "templates/shared.html", "templates/shared_rooms.html")
	if err != nil {
		return nil, fmt.Errorf("studio: %w", err)
	}
	files, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		return nil, fmt.Errorf("studio: %w", err)
	}
	all := make(pages)
	for _, file := range files {
		name := strings.TrimSuffix(path.Base(file), ".html")
		if name == "layout" || strings.HasPrefix(name, "shared") {
			continue
		}
		page := template.Must(base.Clone())
		if all[name], err = page.ParseFS(templateFiles, file); err != nil {
			return nil, fmt.Errorf("studio: %w", err)
		}
	}
	return all, nil
}

// view is what the template of a page gets.
type view struct {
	Title   string // of the page; the program's name follows it
	Room    string // Path of the room that it belongs to; "" shows no rail
	Class   string // of main, for pages that are laid out their own way
	Script  string // a module in static that the page needs, such as "draw.js"
	Style   string // a style sheet in static that the page needs besides the studio's
	Content any

	// What follows is the frame's own.
	Rooms   []room
	Mark    string // where events go on from
	Waiting int    // jobs that wait or run
	Theme   string // "light" or "dark"; "" is the system's
}

// render answers with a page.
func (s *Server) render(w http.ResponseWriter, r *http.Request, status int, name string, v view) {
	v.Rooms = rooms
	v.Mark, _ = r.Context().Value(markKey{}).(string)
	if v.Room == "" {
		v.Rooms = nil
	}
	for _, j := range s.options.Queue.Jobs() {
		if !j.State.Ended() {
			v.Waiting++
		}
	}
	if c, err := r.Cookie("theme"); err == nil && (c.Value == "light" || c.Value == "dark") {
		v.Theme = c.Value
	}
	s.execute(w, r, status, name, "layout", v)
}

// fragment answers with a part of a page, which its template defines under a name, for htmx to put in place.
func (s *Server) fragment(w http.ResponseWriter, r *http.Request, page, name string, content any) {
	s.execute(w, r, http.StatusOK, page, name, content)
}

func (s *Server) execute(w http.ResponseWriter, r *http.Request, status int, page, name string, data any) {
	var b bytes.Buffer
	if err := s.pages[page].ExecuteTemplate(&b, name, data); err != nil {
		s.log.Error("a page cannot be made", "page", page, "part", name, "error", err)
		http.Error(w, "The studio made a mistake; its log has it.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(b.Bytes())
}

// wantsPage reports whether an answer is for a person's eyes. htmx wants pages too, scripts and programs do not.
func wantsPage(r *http.Request) bool { return strings.Contains(r.Header.Get("Accept"), "text/html") }

// fail answers that something went wrong: with a page to people, to programs with a problem.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := api.ProblemOf(err)
	p.Title = http.StatusText(p.Status)
	if p.Status >= 500 && r.Context().Err() == nil {
		s.log.Error("a request failed", "id", r.Context().Value(requestKey{}), "path", r.URL.Path, "error", err)
	}
	if wantsPage(r) {
		s.render(w, r, p.Status, "problem", view{Title: p.Title, Room: "/", Content: p})
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p)
}

// edition is the digest of all files in static.
var edition = sync.OnceValue(func() string {
	all := sha256.New()
	entries, _ := staticFiles.ReadDir("static")
	for _, e := range entries {
		content, _ := staticFiles.ReadFile("static/" + e.Name())
		all.Write(content)
	}
	return base64.RawURLEncoding.EncodeToString(all.Sum(nil)[:12])
})

// staticURL is the address of a file in static, which changes when any of them does: browsers keep what they have of one, and need not ask for
// it before they paint. Modules that import each other are below the same one.
func staticURL(name string) string { return "/static/" + edition() + "/" + name }

// static serves the files in static. Of addresses that say no edition, or another program's, browsers ask each time whether the file is the same.
func static() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(path.Clean(r.URL.Path), "/static/")
		wanted, rest, ok := strings.Cut(name, "/")
		if ok {
			name = rest
		}
		content, err := staticFiles.ReadFile("static/" + name)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		digest := sha256.Sum256(content)
		w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
		if path.Ext(name) == ".js" { // a Windows machine may call it something else
			w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
		}
		w.Header().Set("Cache-Control", "no-cache")
		if wanted == edition() {
			w.Header().Set("Cache-Control", "max-age=31536000, immutable")
		}
		w.Header().Set("ETag", `"`+base64.RawURLEncoding.EncodeToString(digest[:12])+`"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
}

// words are what templates say things with.
var words = template.FuncMap{
	"about": about,
	"bytes": size,
	"ended": func(s jobs.State) bool { return s.Ended() },
	"percent": func(p jobs.Progress) int {
		if p.Total <= 0 {
			return 0
		}
		return min(100, max(0, 100*p.Done/p.Total))
	},
	"control": func(d drawView, name, label string, rest ...string) controlView {
		return controlOf(name, label, d.V[name], d.Faults[name], rest)
	},
	"enlarge": func(d enlargeView, name, label string, rest ...string) controlView {
		return controlOf(name, label, d.V[name], d.Faults[name], rest)
	},
	"axis": func(d drawView, letter, label string) axisView {
		name := letter + "_axis"
		return axisView{letter, label, d.V[name], d.V[letter+"_values"], d.Faults[letter+"_values"], d.Axes}
	},
	"static": staticURL,
	"sends":  func() []string { return []string{"enlarge", "img2img", "inpaint"} },
	"sizes":  func() []string { return []string{"512×512", "512×640", "512×768"} },
	"when":   func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"day":    func(t time.Time) string { return t.Local().Format("2 January 2006, 15:04") },
}

// controlOf is a control, of whose bounds, step and so on rest has the first ones.
func controlOf(name, label, value, fault string, rest []string) controlView {
	c := controlView{Name: name, Label: label, Value: value, Fault: fault}
	for i, at := range []*string{&c.Min, &c.Max, &c.Step, &c.Empty} {
		if i < len(rest) {
			*at = rest[i]
		}
	}
	return c
}

// about is how long something takes, for people.
func about(d time.Duration) string {
	switch seconds := d.Round(time.Second); {
	case d <= 0:
		return ""
	case d < time.Second:
		return "less than a second"
	case d < 90*time.Second:
		return fmt.Sprintf("about %d s", int(seconds.Seconds()))
	case d < 90*time.Minute:
		return fmt.Sprintf("about %d minutes", int(d.Round(time.Minute).Minutes()))
	case d < 36*time.Hour:
		return fmt.Sprintf("about %d hours", int(d.Round(time.Hour).Hours()))
	}
	return fmt.Sprintf("about %d days", int(d.Round(24*time.Hour).Hours()/24))
}

// size is a number of bytes, for people.
func size(n int64) string {
	value, unit := float64(n), "B"
	for _, next := range []string{"kB", "MB", "GB", "TB"} {
		if value < 1000 {
			break
		}
		value, unit = value/1000, next
	}
	if unit == "B" || value >= 100 {
		return fmt.Sprintf("%.0f %s", value, unit)
	}
	return fmt.Sprintf("%.1f %s", value, unit)
}

// printable is a name from a stranger as it may stand in a sentence.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '�'
		}
		return r
	}, text[:min(len(text), 100)])
}
