package python_test

import (
	"math"
	"reflect"
	"testing"

	"github.com/atelier-go/atelier/internal/python"
)

// TestParse expects what ast.literal_eval of Python 3 makes of the same texts.
func TestParse(t *testing.T) {
	for text, want := range map[string]any{
		"None": nil, "True": true, "False": false, "1": 1.0, "-0.8": -0.8, "+1": 1.0, "1e-4": 1e-4, "1.": 1.0, ".5": .5, "1e999": math.Inf(1), " 2 ": 2.0,
		"(0.9)": 0.9, "(0.9,)": []any{0.9}, "0.9,0.99": []any{0.9, 0.99}, "(0.9, 0.99)": []any{0.9, 0.99}, "[0.9,0.999]": []any{0.9, 0.999},
		"[0.9, 0.999,]": []any{0.9, 0.999}, "[]": []any{}, "()": []any{}, "[1, [True, None], 'a, b']": []any{1.0, []any{true, nil}, "a, b"}, `"x"`: "x",
	} {
		if got, err := python.Parse(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is %#v, %v, want %#v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "true", "inf", "nan", "1 2", "[1", "(1", "1]", "[1)", ",", "[,]", "1,,2", "'a", "0x1p-2", "8x", "1e", "a=1"} {
		if got, err := python.Parse(text); err == nil {
			t.Errorf("%q is %#v, want an error", text, got)
		}
	}
}

// FuzzParse reads any text without a panic; what is written from the value is read as the same.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"[0.9,0.999]", "(1,)", "None", "'a'", "((((1))))", "-1e-4, True"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		value, err := python.Parse(text)
		number, ok := value.(float64)
		if err != nil || !ok || math.IsInf(number, 0) {
			return
		}
		if again, err := python.Parse(python.String(number)); err != nil || again != value {
			t.Errorf("%q is %v, written and read %v, %v", text, value, again, err)
		}
	})
}
