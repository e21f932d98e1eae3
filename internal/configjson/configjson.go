// Package configjson reads the config.json beside a network's weights, for packages clip, unet and vae. It knows JSON
// and error messages; what the fields mean is theirs.
package configjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/atelier-go/atelier/internal/python"
)

// MaxBytes bounds a config.json; real ones have one or two kilobytes.
const MaxBytes = 1 << 20

// Reader reads the fields of one config.json. What is wrong with them is kept in the order of reading: see Err.
type Reader struct {
	owner  string // package in whose name errors speak
	fields map[string]json.RawMessage
	errs   []error
}

// New parses data, a JSON object; no data is an object without fields.
func New(owner string, data []byte) *Reader {
	r := &Reader{owner: owner}
	switch {
	case len(data) > MaxBytes:
		r.Errorf("%d bytes, want at most %d", len(data), MaxBytes)
	case len(data) > 0:
		if err := json.Unmarshal(python.PlainJSON(data), &r.fields); err != nil {
			r.Errorf("%w", err)
		}
	}
	return r
}

// Has reports whether the field is there and not null.
func (r *Reader) Has(name string) bool {
	value := r.fields[name]
	return len(value) > 0 && string(value) != "null"
}

// Read unmarshals a field into *dst, which stays as it is if the field is absent or null.
func (r *Reader) Read(name string, dst any) {
	if !r.Has(name) {
		return
	}
	if err := json.Unmarshal(r.fields[name], dst); err != nil {
		r.Errorf("%s is %.40s: %w", name, r.fields[name], err)
	}
}

// Only demands that a field is absent, null or the JSON value want; reason says why nothing else will do.
func (r *Reader) Only(name, want, reason string) {
	if have := string(r.fields[name]); r.Has(name) && strings.TrimSuffix(have, ".0") != want {
		r.Errorf("%s is %.40s, want %s: %s", name, have, want, reason)
	}
}

// Between demands low ≤ n ≤ high of a number that was read.
func (r *Reader) Between(name string, n, low, high int) {
	if n < low || n > high {
		r.Errorf("%s is %d, want %d to %d", name, n, low, high)
	}
}

// Errorf adds a complaint.
func (r *Reader) Errorf(format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf(r.owner+": config.json: "+format, args...))
}

// Err joins all complaints; nil if there are none.
func (r *Reader) Err() error { return errors.Join(r.errs...) }
