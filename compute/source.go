package compute

import (
	"bytes"
	"io"
	"reflect"
	"slices"
)

// ParamSource hands a device the parameters a program names. weights.Checkpoint is one; a merged
// adapter is another that wraps it.
type ParamSource interface {
	// ParamType is the stored type of the named parameter, known without touching its bytes.
	// The element type is F32, F16 or BF16. An unknown name is an error that names it.
	ParamType(name string) (Type, error)
	// ParamData is the parameter in its stored type, row-major, little-endian. The bytes are read-only. Each call may read
	// or compute them anew, so that nobody holds them who has packed its own copy.
	ParamData(name string) ([]byte, error)
}

// ParamOpener is optionally implemented by a ParamSource that can read a part of a parameter, such as a row of a table,
// without the rest.
type ParamOpener interface {
	// OpenParam reads the bytes of ParamData where they lie, for several goroutines and until the source is closed. It is
	// nil for a parameter that is only to be had in whole.
	OpenParam(name string) io.ReaderAt
}

// ParamOverlay is optionally implemented by a ParamSource that has values of its own for some parameters of another source.
type ParamOverlay interface {
	ParamSource
	// Base is the other source.
	Base() ParamSource
	// Changed names the parameters whose values differ from those of Base, or may.
	Changed() []string
}

// Differences names the parameters whose values may differ between two sources, sorted. That is known where they are overlays of one source, or
// that source itself.
func Differences(a, b ParamSource) (names []string, known bool) {
	a, changed := overlaid(a)
	b, more := overlaid(b)
	if !reflect.TypeOf(a).Comparable() || a != b {
		return nil, false
	}
	names = append(changed, more...)
	slices.Sort(names)
	return slices.Compact(names), true
}

// overlaid is what lies under a source, and what the source changes of it.
func overlaid(s ParamSource) (base ParamSource, changed []string) {
	if o, ok := s.(ParamOverlay); ok {
		return o.Base(), slices.Clone(o.Changed())
	}
	return s, nil
}

// OpenParam reads parts of a parameter as cheaply as the source can: where it lies, else from memory.
func OpenParam(source ParamSource, name string) (io.ReaderAt, error) {
	if o, ok := source.(ParamOpener); ok {
		if r := o.OpenParam(name); r != nil {
			return r, nil
		}
	}
	data, err := source.ParamData(name)
	return bytes.NewReader(data), err
}
