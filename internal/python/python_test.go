package python_test

import (
	"testing"

	"github.com/atelier-go/atelier/internal/python"
)

func TestPython(t *testing.T) {
	for _, c := range []struct {
		value any
		want  string
	}{
		{nil, "None"}, {true, "True"}, {false, "False"}, {12, "12"}, {1.0, "1.0"}, {1e-4, "0.0001"}, {1e-5, "1e-05"}, {5e-5, "5e-05"}, {0.1, "0.1"},
		{1.5e16, "1.5e+16"}, {0.0, "0.0"},
	} {
		if got := python.String(c.value); got != c.want {
			t.Errorf("%v (%T) is %q, want %q", c.value, c.value, got, c.want)
		}
	}
	for _, c := range []struct {
		value any
		want  string
	}{
		{map[string]map[string]int{"12_sks dog": {"red hat": 1, "dog": 2}}, `{"12_sks dog": {"dog": 2, "red hat": 1}}`},
		{map[string]int{`a, "b": é😀<`: 1}, `{"a, \"b\": \u00e9\ud83d\ude00<": 1}`},
		{map[string]int{`\`: 1, `\\`: 2}, `{"\\": 1, "\\\\": 2}`},
	} {
		if got := python.JSON(c.value); got != c.want {
			t.Errorf("%v is %s, want %s", c.value, got, c.want)
		}
	}
}
