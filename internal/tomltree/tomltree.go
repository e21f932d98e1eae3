// Package tomltree reads TOML from strangers' hands: what would keep the decoder busy for minutes, or make it panic, is an
// error. What keys mean is the business of the packages that read settings.
package tomltree

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"

	"github.com/BurntSushi/toml"
)

// MaxBytes bounds a document, far beyond any settings.
const MaxBytes = 256 << 10

// Decode reads a document into nested maps, slices, strings, int64, float64, bool and time.Time.
func Decode(data []byte) (tree map[string]any, err error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("TOML of %d bytes, want at most %d", len(data), MaxBytes)
	}
	if err := scan(data); err != nil {
		return nil, err
	}
	defer func() {
		if r := recover(); r != nil {
			tree, err = nil, fmt.Errorf("TOML: %v", r)
		}
	}()
	err = toml.Unmarshal(data, &tree)
	if wrong, ok := errors.AsType[toml.ParseError](err); ok && escape.Match(nthLine(data, wrong.Position.Line)) {
		err = fmt.Errorf(`%w. In double quotes \ begins an escape: write a Windows path in single quotes, 'C:\models\v1-5.safetensors', or with /`, err)
	}
	return tree, err
}

// escape is a \ in double quotes.
var escape = regexp.MustCompile(`"[^"]*\\`)

// nthLine is a line of data; the first is 1.
func nthLine(data []byte, n int) []byte {
	for line := range bytes.Lines(data) {
		if n--; n == 0 {
			return line
		}
	}
	return nil
}
