package python_test

import (
	"testing"

	"github.com/atelier-go/atelier/internal/python"
)

// TestPlainJSON reads what json.dumps of Python 3 writes of the same values.
func TestPlainJSON(t *testing.T) {
	for text, want := range map[string]string{
		`{"a": -Infinity, "b": [NaN, Infinity, 1]}`:         `{"a": null, "b": [null, null, 1]}`,
		`{"NaN": "Infinity", "c": "\"-Infinity", "d": NaN}`: `{"NaN": "Infinity", "c": "\"-Infinity", "d": null}`,
		`"\\"`: `"\\"`, ``: ``, `"`: `"`, `\`: `\`,
	} {
		if got := string(python.PlainJSON([]byte(text))); got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
}
