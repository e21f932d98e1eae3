package invalid_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/invalid"
)

func Example() {
	err := fmt.Errorf("sd: %w", errors.Join(
		invalid.Field("Request.Width", 7, "a multiple of %d", 8),
		invalid.Field("Request.Noise", "TV", "NV or CPU"),
	))
	flags := map[string]string{"Request.Width": "-width", "Request.Noise": "-noise"}
	for _, e := range invalid.Fields(err) {
		fmt.Println(e.Say(flags[e.Field]))
	}
	// Output:
	// -width is 7, want a multiple of 8
	// -noise is "TV", want NV or CPU
}

func TestFieldError(t *testing.T) {
	e := &invalid.FieldError{Field: "Config.OutputDir", Value: "x", Want: "a folder that can be written to", Err: fs.ErrPermission}
	if got, want := e.Error(), `Config.OutputDir is "x", want a folder that can be written to: permission denied`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !errors.Is(e, fs.ErrPermission) {
		t.Error("the error behind it is not found")
	}
	if got := invalid.Field("F", strings.Repeat("x", 1000), "less").Error(); len(got) > 100 {
		t.Errorf("a long value makes a message of %d bytes", len(got))
	}
	if got := invalid.Fields(fs.ErrPermission); got != nil {
		t.Errorf("fields of another error: %v", got)
	}
}
