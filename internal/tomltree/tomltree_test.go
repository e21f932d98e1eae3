package tomltree_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/internal/tomltree"
)

func TestDecode(t *testing.T) {
	got, err := tomltree.Decode([]byte("a = 1\n[b]\nc = [\"x\", 'y']\n[[d]]\ne = true\n"))
	want := map[string]any{"a": int64(1), "b": map[string]any{"c": []any{"x", "y"}}, "d": []map[string]any{{"e": true}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

// numbered repeats a format with the numbers from 0.
func numbered(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func TestRefused(t *testing.T) {
	dots := strings.Repeat("a.", 16)
	for name, c := range map[string]struct{ document, say string }{
		"not TOML":           {"a = ", "expected value"},
		"too long":           {strings.Repeat("#\n", 200000), "TOML of 400000 bytes"},
		"nested tables":      {"a=" + strings.Repeat("{a=", 20000), "line 1: keys and lists are more than 16 deep"},
		"nested lists":       {"a=" + strings.Repeat("[", 20000), "more than 16 deep"},
		"dotted keys":        {"x=1\n" + strings.Repeat("a.", 4000) + "b=1", "line 2: keys"},
		"quoted names":       {strings.Repeat(`"a#.\"" . 'b"'.`, 8) + "c=1", "line 1: keys"},
		"a heading":          {"[" + dots + "b]", "line 1: keys"},
		"below a heading":    {"[[a.b.c.d.e.f.g.h.i]] # x\nj.k.l.m.n.o.p.q=1\n", "line 2: keys"},
		"across lines":       {"a=[{b={c=[\n{d.e.f.g.h.i={j.k.l.m={n=[\n[1]]}}}]}}]", "line 2: keys"},
		"behind a long text": {"x=\"\"\"\na\"\"\\\"\"\"\"\"\n" + dots + "b=1", "line 3: keys"},
		"behind a raw text":  {"x='''\\'''\ny='\\' # '\n" + dots + "b=1", "line 3: keys"},
		"behind a comment":   {"x=1 # \"\"\"\n" + dots + "b=1", "line 2: keys"},
		"a long heading":     {"[" + strings.Repeat("a", 8000) + "]\n" + numbered("k%d=1\n", 10000), "the keys up to here have more than"},
		"long inline tables": {strings.Repeat("a", 8000) + "={" + numbered("k%d=1,", 10000) + "}", "the keys up to here have more than"},
		"a Windows path":     {"x=1\n[a]\nmodel = \"C:\\Users\\x.safetensors\"", `single quotes, 'C:\models`},
		"a Windows folder":   {"a = \"C:\\train\\\"\nb = 1", `single quotes, 'C:\models`},
		"one in a list":      {"a = [\n\"C:\\models\",\n]", `or with /`},
	} {
		if _, err := tomltree.Decode([]byte(c.document)); err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v, want %q in it", name, err, c.say)
		}
	}
}

// TestSeparatorsInTexts has documents whose dots, brackets and braces are no part of a key.
func TestSeparatorsInTexts(t *testing.T) {
	for name, document := range map[string]string{
		"wildcards":   "prompt = \"" + strings.Repeat("{a|b}. [c.", 2000) + "\"\n",
		"raw":         "prompt = '" + strings.Repeat(`{a|b}. \ "[c.`, 2000) + "'\n",
		"lines":       "prompt = \"\"\"" + strings.Repeat("a.[{\n\"x\" \\\"\"\" ", 2000) + "\"\"\"\n",
		"raw lines":   "prompt = '''" + strings.Repeat("a.[{\n'' \\", 2000) + "'''\n",
		"comments":    strings.Repeat("# [[{a.b.c \"'\n", 10000) + "a = 1",
		"numbers":     "a = [" + strings.Repeat("1.5, ", 5000) + "]\n",
		"tables":      "a = [" + strings.Repeat("{ b.c = [1.5, 2], d = 'x' },\n", 5000) + "]\n",
		"subsets":     "[general]\nx = 1\n" + strings.Repeat("[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'a.b'\n", 3000),
		"quoted keys": numbered("\"%d.a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r\" = 1\n", 1000),
	} {
		if _, err := tomltree.Decode([]byte(document)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzDecode: whatever a document holds, it is decoded or refused, and no decoded tree is deeper than is said.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("a = 1\n[b]\nc = 1979-05-27T07:32:00Z"))
	f.Add([]byte("[[a]]\n[a.b]\n{"))
	f.Add([]byte("a.b.c.d.e.f.g.h = {i.j.k.l = [[\"\"\"x\"\"\"\", 'y']]} # z\n'q'.\"r\" = 1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if tree, err := tomltree.Decode(data); err == nil && depth(tree) > 17 {
			t.Errorf("%q is %d deep", data, depth(tree))
		}
	})
}

// depth is how far down a value goes.
func depth(value any) (deepest int) {
	v := reflect.ValueOf(value)
	switch v.Kind() {
	case reflect.Map:
		for _, key := range v.MapKeys() {
			deepest = max(deepest, depth(v.MapIndex(key).Interface()))
		}
	case reflect.Slice:
		for i := range v.Len() {
			deepest = max(deepest, depth(v.Index(i).Interface()))
		}
	default:
		return 0
	}
	return deepest + 1
}
