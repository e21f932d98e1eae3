package tomltree_test

import (
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
	for name, c := range map[string]struct{ document, say string }{
		"not TOML":         {"a = ", "expected value"},
		"nested tables":    {"a=" + strings.Repeat("{a=", 20000), "20000 braces"},
		"long dotted keys": {strings.Repeat("a.", 20000) + "b=1", "line 1 has 40003 bytes"},
		"too long":         {strings.Repeat("#\n", 200000), "TOML of 400000 bytes"},
	} {
		if _, err := tomltree.Decode([]byte(c.document)); err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v, want %q in it", name, err, c.say)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("a = 1\n[b]\nc = 1979-05-27T07:32:00Z"))
	f.Add([]byte("[[a]]\n[a.b]\n{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		tree, err := tomltree.Decode(data)
		if err != nil && tree != nil && len(tree) > 1<<20 {
			t.Error("an error with a large tree")
		}
	})
}
