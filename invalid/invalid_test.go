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

func TestJoin(t *testing.T) {
	few := errors.Join(errors.New("a"), errors.New("b"))
	if got := invalid.Join(nil, few, fmt.Errorf("c: %w", few), nil); got.Error() != "a\nb\nc: a\nb" {
		t.Errorf("%q", got)
	}
	if invalid.Join() != nil || invalid.Join(nil, nil) != nil {
		t.Error("no errors are an error")
	}
	var sets []error
	for i := range 100 {
		sets = append(sets, errors.Join(invalid.Field(fmt.Sprintf("Sets[%d].A", i), nil, "b"), errors.New("x")))
	}
	all := invalid.Join(sets...)
	if lines := strings.Split(all.Error(), "\n"); len(lines) != 31 || lines[30] != "and 170 more" || len(invalid.Fields(all)) != 15 {
		t.Errorf("%d lines, %d fields, the last line is %q", len(lines), len(invalid.Fields(all)), lines[len(lines)-1])
	}
}
