package sdapi_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/sd/grid"
	"github.com/atelier-go/atelier/studio/sdapi"
)

// shape is a schema of the OpenAPI document.
type shape struct {
	Type       any
	Properties map[string]shape
	Items      *shape
	Default    any
	Minimum    *float64
	Maximum    *float64
}

// endpoint is what may be sent where.
type endpoint struct {
	method, path string
	query        []string
	body         *shape
}

// endpoints are those of the document, in one order.
func endpoints(t testing.TB, api http.Handler) (all []endpoint) {
	w := httptest.NewRecorder()
	api.ServeHTTP(w, httptest.NewRequest("GET", "/openapi.json", nil))
	var document struct {
		Paths map[string]map[string]struct {
			Parameters  []struct{ Name string }
			RequestBody *struct {
				Content map[string]struct{ Schema shape }
			}
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &document); err != nil {
		t.Fatal(err)
	}
	for _, path := range slices.Sorted(maps.Keys(document.Paths)) {
		for method, operation := range document.Paths[path] {
			one := endpoint{method: strings.ToUpper(method), path: path}
			for _, p := range operation.Parameters {
				one.query = append(one.query, p.Name)
			}
			if operation.RequestBody != nil {
				body := operation.RequestBody.Content["application/json"].Schema
				one.body = &body
			}
			all = append(all, one)
		}
	}
	slices.SortFunc(all, func(a, b endpoint) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	return all
}

// The values of strangers.
var (
	oddNumbers = []any{0, -1, 1, 7, 8, 64, 512, 0.5, 1e9, -1e9, 1e18, json.Number("1e400"), json.Number("9223372036854775808"), "3", "x", true}
	oddTexts   = []any{
		"", "x", "None", "Automatic", "Euler a", "karras", "tiny-portrait", "X/Y/Z plot", "CFG Scale", "1-5 (+2)", "http://127.0.0.1/", "data:image/png;base64,", "\x00", "../../etc/passwd", "<lora:x:1>", "((a:1.2", "[a:b:0.5]",
		"a\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 64x64", strings.Repeat("(", 3000), sample(8, 8), "data:image/png;base64," + sample(16, 8), sample(1, 1), "iVBORw0KGgo=", "Latent", "Lanczos",
	}
	oddNames = []string{
		"ADetailer", "Soft inpainting", "Refiner", "seed", "sampler", "controlnet", "sd_model_checkpoint", "sd_vae", "CLIP_stop_at_last_layers", "randn_source", "n_rows", "args", "ad_model", "ad_confidence",
		"ad_steps", "ad_use_steps", "ad_dilate_erode", "uni_pc_order", "samples_format", "jpeg_quality", "data", "name", "",
	}
)

// dice makes bodies of a schema by chance, the same of the same seed: mostly of the type that is wanted, seldom as they should be.
type dice struct{ *rand.Rand }

func (d dice) body(s shape) any {
	if d.IntN(40) == 0 {
		return d.any(3)
	}
	body, rare := make(map[string]any), pick(d, []int{3, 10, 40})
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if one := s.Properties[name]; d.IntN(rare) == 0 {
			body[name] = d.value(one)
		}
	}
	return body
}

func (d dice) value(s shape) any {
	if d.IntN(12) == 0 {
		return d.any(3)
	}
	kind := fmt.Sprint(s.Type)
	switch {
	case strings.Contains(kind, "object") && s.Properties != nil:
		return d.body(s)
	case strings.Contains(kind, "object"):
		return d.object(3)
	case strings.Contains(kind, "array") && s.Items != nil:
		list := []any{}
		for range d.IntN(3) {
			list = append(list, d.value(*s.Items))
		}
		return list
	case strings.Contains(kind, "string"):
		return pick(d, oddTexts)
	case strings.Contains(kind, "boolean"):
		return d.IntN(2) == 0
	case strings.Contains(kind, "integer"), strings.Contains(kind, "number"):
		if s.Default != nil && d.IntN(2) == 0 {
			return s.Default
		}
		return pick(d, oddNumbers)
	}
	return d.any(3)
}

// any is a value of any type.
func (d dice) any(depth int) any {
	switch d.IntN(6) {
	case 0:
		return nil
	case 1:
		return d.IntN(2) == 0
	case 2:
		return pick(d, oddNumbers)
	case 3:
		if depth > 0 {
			return d.object(depth - 1)
		}
	case 4:
		list := []any{}
		for range d.IntN(8) {
			list = append(list, d.any(max(depth-1, 0)))
		}
		return list
	}
	return pick(d, oddTexts)
}

func (d dice) object(depth int) any {
	object := make(map[string]any)
	for range d.IntN(4) {
		object[pick(d, oddNames)] = d.any(depth)
	}
	return object
}

func pick[T any](d dice, from []T) T { return from[d.IntN(len(from))] }

// Which requests TestBodies sends: some in CI, 100,000 before a release, in parts if need be.
var (
	requests = flag.Int("requests", 600, "how many requests TestBodies sends")
	from     = flag.Int("from", 0, "the seed of its first")
)

// TestBodies sends to every route what its part of the OpenAPI document allows, and what it does not.
//
//	go test ./studio/sdapi -run TestBodies -timeout 2h -args -requests 100000
func TestBodies(t *testing.T) {
	s := newStudio(t, sdapi.Options{}, painter{most: 2}.handlers())
	all, statuses := endpoints(t, s.server.Config.Handler), make(map[int]int)
	for seed := *from; seed < *from+*requests; seed++ {
		statuses[s.strange(t, all[seed%len(all)], uint64(seed), nil)]++
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d requests to %d routes, by status: %v", *requests, len(all), statuses)
}

// TestPlotBodies sends the script X/Y/Z plot args of any kind, mostly of the type that is wanted.
func TestPlotBodies(t *testing.T) {
	s := newStudio(t, sdapi.Options{}, painter{most: 2}.handlers())
	oddValues := []any{"", "1-5 (+2), 9", "1-1e9", "5-1", "0-1 [3]", "Euler a, nobody", "\"a,b\",c", "64x64, 9x9", "true", "-1,-1", strings.Repeat("1,", 5000), nil, 7, []any{}}
	statuses := make(map[int]int)
	for seed := *from; seed < *from+*requests; seed++ {
		d := dice{rand.New(rand.NewPCG(uint64(seed), 2))}
		var args []any
		for range 3 {
			args = append(args, pick(d, []any{0, nil, d.IntN(60) - 2, pick(d, grid.Names())}), pick(d, oddValues), pick(d, []any{[]string{}, "", nil, []any{"Euler", "None", d.any(1)}}))
		}
		for range d.IntN(11) {
			args = append(args, pick(d, []any{true, false, "True", "False", nil, 0, pick(d, oddNumbers)}))
		}
		if d.IntN(10) == 0 {
			args[d.IntN(len(args))] = d.any(3)
		}
		request := body{"script_name": "X/Y/Z plot", "script_args": args, "prompt": "a, b <lora:x:1>", "steps": 2, "width": 64, "height": 64, "enable_hr": d.IntN(4) == 0}
		to := endpoint{method: "POST", path: pick(d, []string{"/sdapi/v1/txt2img", "/sdapi/v1/img2img"})}
		if to.path == "/sdapi/v1/img2img" {
			request["init_images"], request["mask"] = []string{sample(8, 8)}, sample(8, 8)
		}
		raw, err := json.Marshal(request)
		if err != nil { // a number beyond all
			continue
		}
		statuses[s.strange(t, to, uint64(seed), raw)]++
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d plots, by status: %v", *requests, statuses)
	if *requests >= 600 && statuses[http.StatusOK] < 20 {
		t.Error("hardly any of them is drawn")
	}
}

// FuzzBodies does so with bytes of any kind too. Building it takes a while: the queue's server is instrumented with the rest.
//
//	go test ./studio/sdapi -run '^$' -fuzz FuzzBodies -fuzztime 100000x
func FuzzBodies(f *testing.F) {
	s := newStudio(f, sdapi.Options{}, painter{most: 2}.handlers())
	all := endpoints(f, s.server.Config.Handler)
	seeds, err := filepath.Glob(filepath.Join("testdata", "bodies", "*.json"))
	if err != nil || len(seeds) < 5 {
		f.Fatal(seeds, err)
	}
	for at, one := range all {
		f.Add(uint8(at), uint64(0), []byte(`{"prompt": {}`))
		for _, name := range seeds {
			text, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			if one.body != nil {
				f.Add(uint8(at), uint64(0), text)
			}
		}
	}
	f.Fuzz(func(t *testing.T, at uint8, seed uint64, raw []byte) {
		s.strange(t, all[int(at)%len(all)], seed, raw)
	})
}

// strange sends bytes, or what a seed makes of the schema, and wants an answer that is not the server's fault, in JSON but for pictures and
// the page.
func (s *studio) strange(t *testing.T, to endpoint, seed uint64, raw []byte) (status int) {
	d, target, sent := dice{rand.New(rand.NewPCG(seed, 1))}, to.path+"?", raw
	for _, name := range to.query {
		target += name + "=" + escape(fmt.Sprint(pick(d, oddTexts))) + "&"
	}
	if len(raw) == 0 && to.body != nil {
		var err error
		if sent, err = json.Marshal(d.body(*to.body)); err != nil { // a number beyond all
			sent = []byte(`{"steps": 1e400, "seed": [1`)
		}
	}
	r, w := httptest.NewRequestWithContext(t.Context(), to.method, target, strings.NewReader(string(sent))), httptest.NewRecorder()
	r.Header.Set("Content-Type", "application/json")
	s.server.Config.Handler.ServeHTTP(w, r)
	answer := w.Body.String()
	switch {
	case w.Code >= 500 && w.Code != http.StatusNotImplemented, w.Code < 200:
		t.Errorf("%s %s with %.2000s: %d %.1000s", to.method, target, sent, w.Code, answer)
	case strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") && !json.Valid([]byte(answer)):
		t.Errorf("%s %s answers no JSON: %.1000s", to.method, target, answer)
	case len(answer) > 4<<20:
		t.Errorf("%s %s with %.2000s answers with %d bytes", to.method, target, sent, len(answer))
	}
	return w.Code
}
