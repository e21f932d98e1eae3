package studio

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/tinyportrait"
)

// openQueue opens a queue in a folder of the test's.
func openQueue(t *testing.T) *jobs.Queue {
	t.Helper()
	q, err := jobs.Open(t.Context(), jobs.Options{Dir: t.TempDir(), Heartbeat: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
	return q
}

// openLibrary opens an empty library of the test's own.
func openLibrary(t *testing.T) *library.Library {
	t.Helper()
	lib, err := library.Open(library.Options{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return lib
}

// newServer makes a studio of a test's own.
func newServer(t *testing.T, o Options) *Server {
	t.Helper()
	if o.Queue == nil {
		o.Queue = openQueue(t)
	}
	if o.Library == nil {
		o.Library = openLibrary(t)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// ask sends a request as a browser on this machine would, with further headers as pairs.
func ask(h http.Handler, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://127.0.0.1:7860"+path, strings.NewReader(body))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestHosts(t *testing.T) {
	const token = "0123456789abcdef"
	q := openQueue(t)
	local := newServer(t, Options{Queue: q})
	wide := newServer(t, Options{Queue: q, Token: token, Hosts: []string{"studio.example"}})
	for _, test := range []struct {
		host        string
		local, wide bool
	}{
		{"127.0.0.1:7860", true, true},
		{"localhost:7860", true, true},
		{"LOCALHOST", true, true},
		{"localhost.", true, true},
		{"[::1]:7860", true, true},
		{"127.9.9.9", true, true},
		{"192.168.1.7:7860", false, true},
		{"[2001:db8::1]:7860", false, true},
		{"studio.example:7860", false, true},
		{"evil.example", false, false},
		{"localhost.evil.example", false, false},
		{"127.0.0.1.evil.example", false, false},
		{"127.0.0.1:7860.evil.example", false, false},
		{"", false, false},
		{"\x1b[31m", false, false},
	} {
		for server, want := range map[*Server]bool{local: test.local, wide: test.wide} {
			got := ask(server, "GET", "/queue", "", "Host", test.host, "Authorization", "Bearer "+token)
			if want && got.Code != http.StatusOK || !want && got.Code != http.StatusMisdirectedRequest {
				t.Errorf("host %q: status %d, known %v is wanted", test.host, got.Code, want)
			}
		}
	}
}

func TestOrigins(t *testing.T) {
	s := newServer(t, Options{})
	for _, test := range []struct {
		name    string
		headers []string
		refused bool
	}{
		{"a program", nil, false},
		{"this page", []string{"Origin", "http://127.0.0.1:7860", "Sec-Fetch-Site", "same-origin"}, false},
		{"an old browser on this page", []string{"Origin", "http://127.0.0.1:7860"}, false},
		{"a page elsewhere", []string{"Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site"}, true},
		{"an old browser elsewhere", []string{"Origin", "http://evil.example"}, true},
		{"another port of this machine", []string{"Origin", "http://127.0.0.1:8080", "Sec-Fetch-Site", "same-site"}, true},
		{"a sandbox", []string{"Origin", "null"}, true},
	} {
		for _, method := range []string{"POST", "PATCH", "DELETE", "PUT"} {
			got := ask(s, method, "/api/v1/jobs/none", "{}", test.headers...).Code
			if refused := got == http.StatusForbidden; refused != test.refused {
				t.Errorf("%s by %s: status %d", method, test.name, got)
			}
		}
	}
}

func TestToken(t *testing.T) {
	if _, err := New(Options{Queue: openQueue(t), Library: openLibrary(t), Token: "short"}); err == nil {
		t.Error("a token that people guess is taken")
	}
	const token = "correct horse battery staple"
	s := newServer(t, Options{Token: token})
	if got := ask(s, "GET", "/queue", "", "Accept", "text/html"); got.Code != http.StatusUnauthorized || !strings.Contains(got.Body.String(), `name="token"`) {
		t.Errorf("without a token: %d %s", got.Code, got.Body)
	}
	for _, path := range []string{"/queue", "/events", "/api/v1/jobs", "/api/v1/jobs/x/files/y"} {
		if got := ask(s, "GET", path, "", "Authorization", "Bearer wrong"); got.Code != http.StatusUnauthorized || got.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%s with a wrong token: %d", path, got.Code)
		}
	}
	for _, basic := range []string{"Bearer " + token, "Basic YW55Ym9keTpjb3JyZWN0IGhvcnNlIGJhdHRlcnkgc3RhcGxl"} {
		if got := ask(s, "GET", "/api/v1/jobs", "", "Authorization", basic); got.Code != http.StatusOK {
			t.Errorf("%s: %d %s", basic, got.Code, got.Body)
		}
	}
	got := ask(s, "GET", "/queue?token=correct+horse+battery+staple&a=b", "")
	if got.Code != http.StatusSeeOther || got.Header().Get("Location") != "/queue?a=b" {
		t.Fatalf("the address with the token leads to %d %q", got.Code, got.Header().Get("Location"))
	}
	set := got.Result().Cookies()[0]
	if !set.HttpOnly || set.SameSite != http.SameSiteStrictMode {
		t.Errorf("cookie %v", set)
	}
	if got := ask(s, "GET", "/queue", "", "Cookie", set.Name+`="`+set.Value+`"`); got.Code != http.StatusOK {
		t.Errorf("with the cookie %s: %d", set, got.Code)
	}
	for to, want := range map[string]string{
		"/queue": "/queue", "//evil.example/x": "/x", "https://evil.example/x": "/x", `/\evil.example`: "/evil.example", "\\\\evil": "/evil", "%zz": "/login",
	} {
		got := ask(s, "POST", "/login", "token=correct+horse+battery+staple&to="+strings.NewReplacer("%", "%25", `\`, "%5C").Replace(to))
		if got.Code != http.StatusSeeOther || got.Header().Get("Location") != want {
			t.Errorf("to %q: %d %q, want %q", to, got.Code, got.Header().Get("Location"), want)
		}
	}
}

// TestAPIAuth lets the web UI's programs in by their own names, and nowhere else.
func TestAPIAuth(t *testing.T) {
	s := newServer(t, Options{Token: "0123456789abcdef", APIAuth: []string{"me:secret"}})
	const basic = "Basic bWU6c2VjcmV0"
	for _, test := range []struct {
		path, authorization string
		want                int
	}{
		{"/sdapi/v1/samplers", basic, 200},
		{"/sdapi/v1/samplers", "", 401},
		{"/sdapi/v1/samplers", "Basic bWU6d3Jvbmc=", 401},
		{"/api/v1/jobs", basic, 401},
		{"/queue", basic, 401},
		{"/sdapi/v1/../../queue", basic, 401},
	} {
		if got := ask(s, "GET", test.path, "", "Authorization", test.authorization).Code; got != test.want {
			t.Errorf("%s with %q: %d, want %d", test.path, test.authorization, got, test.want)
		}
	}
	open := newServer(t, Options{})
	if got := ask(open, "GET", "/sdapi/v1/samplers", "").Code; got != 200 {
		t.Errorf("without any: %d", got)
	}
}

// TestPolicy looks at every page without a model: no script or style stands in it, and nothing comes from elsewhere.
func TestPolicy(t *testing.T) {
	s := newServer(t, Options{Token: "0123456789abcdef"})
	bad := regexp.MustCompile(`(?i)<script(?:[^>]*[^>]|)>[^<]|<style|\sstyle=|\son[a-z]+=|javascript:|https?://`)
	for _, path := range []string{"/draw", "/queue", "/machine", "/nowhere", "/login"} {
		for _, token := range []string{"", "Bearer 0123456789abcdef"} {
			got := ask(s, "GET", path, "", "Accept", "text/html", "Authorization", token)
			if found := bad.FindString(strings.ReplaceAll(got.Body.String(), "></script>", ">")); found != "" && !strings.HasPrefix(found, "<script") {
				t.Errorf("%s has %q", path, found)
			}
			for _, name := range []string{"Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Resource-Policy", "X-Request-Id"} {
				if got.Header().Get(name) == "" {
					t.Errorf("%s has no %s", path, name)
				}
			}
			if csp := got.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'self'") || strings.Contains(csp, "unsafe") {
				t.Errorf("%s: policy %q", path, csp)
			}
		}
	}
}

func TestStatic(t *testing.T) {
	s := newServer(t, Options{})
	for path, want := range map[string]int{
		"/static/studio.css": 200, "/static/htmx.min.js": 200, "/static/icon.svg": 200, "/static/": 404, "/static/none.css": 404,
		"/static/../studio.go": 404, "/static/..%2fstudio.go": 404, "/static/%2e%2e/studio.go": 404, "/static//etc/passwd": 404, `/static/..\studio.go`: 404,
	} {
		got := ask(s, "GET", path, "")
		for got.Code/100 == 3 { // the mux cleans paths
			got = ask(s, "GET", got.Header().Get("Location"), "")
		}
		if got.Code != want {
			t.Errorf("%s: %d, want %d", path, got.Code, want)
		}
	}
	for at, want := range map[string]string{staticURL("studio.css"): "max-age=31536000, immutable", "/static/older/studio.css": "no-cache", "/static/studio.css": "no-cache"} {
		if got := ask(s, "GET", at, ""); got.Code != http.StatusOK || got.Header().Get("Cache-Control") != want {
			t.Errorf("%s: %d, %q", at, got.Code, got.Header().Get("Cache-Control"))
		}
	}
	if page := ask(s, "GET", "/draw", "").Body.String(); strings.Count(page, staticURL("")) < 4 || strings.Count(page, staticURL("")) != strings.Count(page, "/static/") {
		t.Error("a page names files that browsers ask for each time")
	}
	first := ask(s, "GET", "/static/studio.css", "")
	if again := ask(s, "GET", "/static/studio.css", "", "If-None-Match", first.Header().Get("ETag")); again.Code != http.StatusNotModified {
		t.Errorf("the same file again: %d", again.Code)
	}
}

// TestWeight holds what a page loads to its budget.
func TestWeight(t *testing.T) {
	const budget = 150_000
	entries, err := staticFiles.ReadDir("static")
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, e := range entries {
		content, err := staticFiles.ReadFile("static/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		total += len(content)
	}
	if total > budget {
		t.Errorf("all styles and scripts have %d bytes, more than %d", total, budget)
	}
}

func TestQueuePage(t *testing.T) {
	q := openQueue(t)
	s := newServer(t, Options{Queue: q})
	for _, title := range []string{"first", "<b>second</b>", "third"} {
		if _, err := q.Submit(t.Context(), jobs.Job{Kind: "draw", Title: title}); err != nil {
			t.Fatal(err)
		}
	}
	order := func() (titles []string) {
		for _, j := range q.Jobs() {
			titles = append(titles, j.Title)
		}
		return titles
	}
	page := ask(s, "GET", "/queue", "").Body.String()
	if !strings.Contains(page, "&lt;b&gt;second") || strings.Contains(page, "<b>second") {
		t.Error("a title is not escaped")
	}
	third := q.Jobs()[2].ID
	if got := ask(s, "POST", "/queue/jobs/"+third, "do=move&before="+q.Jobs()[0].ID); got.Code != http.StatusSeeOther {
		t.Errorf("moving: %d %s", got.Code, got.Body)
	}
	if got := order(); got[0] != "third" {
		t.Errorf("order %q", got)
	}
	if got := ask(s, "POST", "/queue/jobs/"+third, "do=cancel", "HX-Request", "true"); got.Code != http.StatusOK || !strings.Contains(got.Body.String(), "cancelled") || strings.Contains(got.Body.String(), "<html") {
		t.Errorf("cancelling: %d %s", got.Code, got.Body)
	}
	if got := ask(s, "POST", "/queue/jobs/"+third, "do=retry"); got.Code != http.StatusSeeOther || q.Jobs()[0].State != jobs.Pending {
		t.Errorf("trying again: %d %s", got.Code, got.Body)
	}
	if got := ask(s, "POST", "/queue/jobs/"+third, "do=dance"); got.Code != http.StatusUnprocessableEntity {
		t.Errorf("an unknown wish: %d", got.Code)
	}
	if got := ask(s, "POST", "/queue/jobs/none", "do=remove", "Accept", "text/html"); got.Code != http.StatusNotFound || !strings.Contains(got.Body.String(), "no job") {
		t.Errorf("an unknown job: %d %s", got.Code, got.Body)
	}
}

// TestMachine shows the machine, and changes what is chosen there.
func TestMachine(t *testing.T) {
	lib, err := library.Open(library.Options{DataDir: t.TempDir(), Embedded: tinyportrait.FS(), EmbeddedName: tinyportrait.Name})
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, Options{Library: lib, Examine: func() string { return "all is <well>" }})
	if got := ask(s, "GET", "/machine?examine=1", "").Body.String(); !strings.Contains(got, "all is &lt;well&gt;") || !strings.Contains(got, tinyportrait.Name) {
		t.Errorf("%s", got)
	}
	if got := ask(s, "POST", "/machine/checkpoint", "checkpoint="+tinyportrait.Name); got.Code != http.StatusSeeOther || lib.Settings().Text("sd_model_checkpoint") != tinyportrait.Name {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	if got := ask(s, "POST", "/machine/checkpoint", "checkpoint=none"); got.Code != http.StatusNotFound {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	if got := ask(s, "POST", "/machine/refresh", ""); got.Code != http.StatusSeeOther {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	if got := ask(s, "POST", "/machine/unload", ""); got.Code != http.StatusConflict {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	if got := ask(s, "GET", "/machine", "", "Cookie", "theme=dark").Body.String(); !strings.Contains(got, `<html lang="en" data-theme="dark">`) {
		t.Error("the theme is not kept")
	}
	if got := ask(s, "GET", "/machine", "", "Cookie", `theme="><script>`).Body.String(); strings.Contains(got, "data-theme") || strings.Contains(got, "><script>") {
		t.Error("a theme can be anything")
	}
}

// TestPanic sees that a mistake of one page ends one request, and tells nobody what was sent.
func TestPanic(t *testing.T) {
	s := newServer(t, Options{})
	s.mux.HandleFunc("GET /panic", func(http.ResponseWriter, *http.Request) { panic("secret") })
	got := ask(s, "GET", "/panic", "")
	if body, _ := io.ReadAll(got.Body); got.Code != http.StatusInternalServerError || strings.Contains(string(body), "secret") {
		t.Errorf("%d %s", got.Code, body)
	}
}
