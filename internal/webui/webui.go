// Package webui reads, for tests, what the real web UI answered: records of inputs and outputs, one JSON object a line.
package webui

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"image"
	"image/png"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Variable names a folder of further records, in files of the same names, not compressed.
const Variable = "ATELIER_WEBUI_VECTORS"

// Test runs a subtest that checks every record of a file: NAME.jsonl or NAME.jsonl.gz in testdata/webui of the package under test,
// and NAME.jsonl in the folder that the environment names.
func Test[Record any](t *testing.T, name string, check func(t *testing.T, r Record)) {
	t.Run(name, func(t *testing.T) {
		records := Records[Record](t, name)
		for _, r := range records {
			check(t, r)
		}
		t.Logf("%d records", len(records))
	})
}

// Records reads a file of records as Test does.
func Records[Record any](t *testing.T, name string) []Record {
	t.Helper()
	records := read[Record](t, filepath.Join("testdata", "webui", name+".jsonl"))
	if len(records) == 0 {
		records = read[Record](t, filepath.Join("testdata", "webui", name+".jsonl.gz"))
	}
	if len(records) == 0 {
		t.Fatalf("testdata/webui has no %s", name)
	}
	if folder := os.Getenv(Variable); folder != "" {
		records = append(records, read[Record](t, filepath.Join(folder, name+".jsonl"))...)
	}
	return records
}

// Picture is a picture that a record names: a PNG of testdata/webui/img, or of img in the folder that the environment names.
func Picture(t *testing.T, name string) image.Image {
	t.Helper()
	path := filepath.Join("testdata", "webui", "img", name)
	if _, err := os.Stat(path); err != nil {
		path = filepath.Join(os.Getenv(Variable), "img", name)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return img
}

// read reads a file, if it is there.
func read[Record any](t *testing.T, path string) (records []Record) {
	t.Helper()
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = bufio.NewReader(f)
	if filepath.Ext(path) == ".gz" {
		if r, err = gzip.NewReader(r); err != nil {
			t.Fatal(err)
		}
	}
	for lines := json.NewDecoder(r); ; {
		var one Record
		if err := lines.Decode(&one); err == io.EOF {
			return records
		} else if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		records = append(records, one)
	}
}

// Number is a number of a record, which may be "nan" or "inf".
type Number float64

// UnmarshalJSON implements json.Unmarshaler.
func (n *Number) UnmarshalJSON(text []byte) error {
	value, err := strconv.ParseFloat(strings.Trim(string(text), `"`), 64)
	*n = Number(value)
	return err
}

// Equal reports whether it is exactly a value; what is no number equals itself.
func (n Number) Equal(value float64) bool {
	return float64(n) == value || math.IsNaN(float64(n)) && math.IsNaN(value)
}
