// Package tomltree reads TOML from strangers' hands: what would keep the decoder busy for minutes, or make it panic, is an
// error. What keys mean is the business of the packages that read settings.
package tomltree

import (
	"bytes"
	"fmt"

	"github.com/BurntSushi/toml"
)

// MaxBytes bounds a document, far beyond any settings.
const MaxBytes = 256 << 10

// The decoder's time grows with the square of how deep tables and dotted keys are nested; these bound both.
const (
	maxTables = 1000
	maxLine   = 8 << 10
)

// Decode reads a document into nested maps, slices, strings, int64, float64, bool and time.Time.
func Decode(data []byte) (tree map[string]any, err error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("TOML of %d bytes, want at most %d", len(data), MaxBytes)
	}
	if n := bytes.Count(data, []byte("{")); n > maxTables {
		return nil, fmt.Errorf("TOML with %d braces, want at most %d", n, maxTables)
	}
	number := 0
	for line := range bytes.Lines(data) {
		if number++; len(line) > maxLine {
			return nil, fmt.Errorf("TOML: line %d has %d bytes, want at most %d", number, len(line), maxLine)
		}
	}
	defer func() {
		if r := recover(); r != nil {
			tree, err = nil, fmt.Errorf("TOML: %v", r)
		}
	}()
	err = toml.Unmarshal(data, &tree)
	return tree, err
}
