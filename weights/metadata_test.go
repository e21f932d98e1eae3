package weights

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadMetadata(t *testing.T) {
	a := entryJSON("a", "F32", "[1]", 0, 4)
	first := `"__metadata__":{"k":"v","l":"\u00e4"}`
	want := map[string]string{"k": "v", "l": "ä"}
	for _, tt := range []struct {
		name  string
		file  []byte
		want  map[string]string
		error string
	}{
		{"first", rawFile("{"+first+","+a+"}", 4), want, ""},
		{"last", rawFile("{"+a+","+first+"}", 4), want, ""},
		{"none", rawFile("{"+a+"}", 4), map[string]string{}, ""},
		{"broken behind it", rawFile("{"+first+",", 0), want, ""},
		{"truncated", rawFile("{"+first, 0)[:30], nil, "truncated"},
		{"a number", rawFile(`{"__metadata__":{"k":1}}`, 0), nil, "not a string"},
		{"twice", rawFile(`{"__metadata__":{"k":"1","k":"1"}}`, 0), nil, "twice"},
		{"no file", nil, nil, "empty file"},
		{"a web page", []byte("<html></html>"), nil, "web page"},
		{"no object", rawFile("[]", 0), nil, "have ["},
	} {
		got, err := ReadMetadata(writeRaw(t, tt.file))
		if !maps.Equal(got, tt.want) || (err == nil) != (tt.error == "") || err != nil && !strings.Contains(err.Error(), tt.error) {
			t.Errorf("%s: %v, %v; want %v, %q", tt.name, got, err, tt.want, tt.error)
		}
	}
	if _, err := ReadMetadata(t.TempDir()); err == nil || !strings.Contains(err.Error(), "a folder") {
		t.Errorf("a folder: %v", err)
	}
}

// TestHeaderLikePickle opens files whose header's length begins with the bytes of a pickle.
func TestHeaderLikePickle(t *testing.T) {
	for protocol := 2; protocol <= 5; protocol++ {
		length := protocol<<8 | 0x80
		header := `{"__metadata__":{"k":"`
		header += strings.Repeat("v", length-len(header)-len(`"}}`)) + `"}}`
		path := writeRaw(t, rawFile(header, 0))
		if m, err := ReadMetadata(path); err != nil || len(m) != 1 {
			t.Errorf("%d bytes: metadata %v, %v", length, m, err)
		}
		f, err := OpenFile(path)
		if err != nil {
			t.Errorf("%d bytes: %v", length, err)
			continue
		}
		f.Close()
	}
}

// TestHugeHeaders reads a header with many keys, of which five million once took a minute, and one that is a sparse gigabyte:
// reading ends at the first that is too many, and at the first byte.
func TestHugeHeaders(t *testing.T) {
	var header strings.Builder
	header.WriteString(`{"__metadata__":{"k":""`)
	for i := range 100_000 {
		fmt.Fprintf(&header, `,"k%d":""`, i)
	}
	header.WriteString("}}")
	keys := writeRaw(t, rawFile(header.String(), 0))
	sparse := filepath.Join(t.TempDir(), "sparse")
	if err := os.WriteFile(sparse, binary.LittleEndian.AppendUint64(nil, 99_999_992), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(sparse, 1<<30); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{keys: "more than 10000 entries of metadata", sparse: "header: "} {
		if _, err := ReadMetadata(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("metadata: %v, want %q", err, want)
		}
		if _, err := OpenFile(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("opened: %v, want %q", err, want)
		}
	}
}
