package weights

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/weights/pickle"
)

// rawFile puts a header and data together without any check.
func rawFile(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func writeRaw(t testing.TB, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.safetensors")
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func entryJSON(name, dtype, shape string, begin, end int) string {
	return fmt.Sprintf(`"%s":{"dtype":"%s","shape":%s,"data_offsets":[%d,%d]}`, name, dtype, shape, begin, end)
}

func manyKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf(`"k%d":""`, i)
	}
	return keys
}

func TestHeaderRefused(t *testing.T) {
	a := entryJSON("a", "F32", "[1]", 0, 4)
	nested := strings.Repeat("[", 100_000)
	for _, tt := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty file", nil, "empty file"},
		{"one zero", make([]byte, 1), "shorter than the 8 bytes"},
		{"JSON answer", []byte(`{"error":"Unauthorized","message":"log in"}`), "JSON answer"},
		{"short JSON answer", []byte(`[]`), "JSON answer"},
		{"JSON answer over lines", []byte("\r\n{\r\n  \"error\": \"Unauthorized\"}"), "JSON answer"},
		{"what it says", []byte(`{"error":"Unauthorized","message":"log in"}`), "log in"},
		{"web page", []byte("<!DOCTYPE html><html></html>"), "web page"},
		{"gzip", []byte("\x1f\x8b\x08aaaaaaaaaaaaaaaa"), "unpack it"},
		{"RAR", []byte("Rar!\x1a\x07\x01aaaaaaaaa"), "unpack it"},
		{"PNG", []byte("\x89PNG\r\n\x1a\naaaaaaaaa"), "a picture"},
		{"words", []byte("Access denied"), `text, not a safetensors file ("Access denied")`},
		{"zeros", make([]byte, 4000), "nothing but zeros"},
		{"more metadata than anybody writes", rawFile("{\"__metadata__\":{"+strings.Join(manyKeys(10_001), ",")+"}}", 0), "more than 10000 entries"},
		{"seven bytes", make([]byte, 7), "shorter than the 8 bytes"},
		{"length beyond the bound", binary.LittleEndian.AppendUint64(nil, 100_000_001), "beyond"},
		{"length 2⁶⁴−1", binary.LittleEndian.AppendUint64(nil, 1<<64-1), "beyond"},
		{"length beyond the file", binary.LittleEndian.AppendUint64(nil, 50), "truncated"},
		{"empty header", rawFile("", 0), "does not begin with '{'"},
		{"white space first", rawFile(" {}", 0), "does not begin with '{'"},
		{"array", rawFile("[]", 0), "does not begin with '{'"},
		{"only a brace", rawFile("{", 0), "EOF"},
		{"not UTF-8", rawFile("{\"a\xff\":1}", 0), "not UTF-8"},
		{"text after the object", rawFile("{"+a+"} x", 4), "text after"},
		{"second object", rawFile("{"+a+"}{}", 4), "text after"},
		{"NUL padding", rawFile("{"+a+"}\x00\x00", 4), "text after"},
		{"duplicate name", rawFile("{"+a+","+entryJSON("a", "F32", "[1]", 4, 8)+"}", 8), `"a" appears twice`},
		{"duplicate name by escape", rawFile("{"+a+","+entryJSON(`\u0061`, "F32", "[1]", 4, 8)+"}", 8), `"a" appears twice`},
		{"duplicate field", rawFile(`{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4), `"dtype" appears twice`},
		{"duplicate metadata", rawFile(`{"__metadata__":{"k":"1","k":"2"}}`, 0), `"k" appears twice`},
		{"metadata number", rawFile(`{"__metadata__":{"k":1}}`, 0), "not a string"},
		{"metadata not an object", rawFile(`{"__metadata__":"x"}`, 0), "have x"},
		{"unknown field", rawFile(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}`, 4), `unknown field "x"`},
		{"missing field", rawFile(`{"a":{"dtype":"F32","shape":[1]}}`, 4), "three fields"},
		{"entry not an object", rawFile(`{"a":[1]}`, 4), "have ["},
		{"unknown dtype", rawFile("{"+entryJSON("a", "F31", "[1]", 0, 4)+"}", 4), `unknown dtype "F31"`},
		{"unsupported dtype", rawFile("{"+entryJSON("a", "F4", "[2]", 0, 1)+"}", 1), "dtype F4 is not supported"},
		{"dtype number", rawFile(`{"a":{"dtype":1,"shape":[1],"data_offsets":[0,4]}}`, 4), "not a string"},
		{"negative dimension", rawFile("{"+entryJSON("a", "F32", "[-1]", 0, 4)+"}", 4), "no natural number"},
		{"negative zero", rawFile("{"+entryJSON("a", "F32", "[-0]", 0, 0)+"}", 0), "no natural number"},
		{"float dimension", rawFile("{"+entryJSON("a", "F32", "[1.0]", 0, 4)+"}", 4), "no natural number"},
		{"exponent dimension", rawFile("{"+entryJSON("a", "F32", "[1e0]", 0, 4)+"}", 4), "no natural number"},
		{"dimension 2⁶⁴−2", rawFile("{"+entryJSON("a", "F32", "[2,18446744073709551614]", 0, 4)+"}", 4), "no natural number"},
		{"string dimension", rawFile(`{"a":{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}}`, 4), "other than numbers"},
		{"product overflow", rawFile("{"+entryJSON("a", "F32", "[4294967296,4294967296]", 0, 4)+"}", 4), "more elements than any file"},
		{"product overflow to 0", rawFile("{"+entryJSON("a", "F32", "[4611686018427387904]", 0, 0)+"}", 0), "more elements than any file"},
		{"rank 9", rawFile("{"+entryJSON("a", "F32", "[1,1,1,1,1,1,1,1,1]", 0, 4)+"}", 4), "rank 9"},
		{"deep nesting", rawFile(`{"a":{"dtype":"F32","shape":`+nested, 4), "other than numbers"},
		{"float offset", rawFile(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0.0,4]}}`, 4), "no natural number"},
		{"one offset", rawFile(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}`, 4), "1 numbers"},
		{"three offsets", rawFile(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}}`, 4), "3 numbers"},
		{"offsets reversed", rawFile("{"+entryJSON("a", "F32", "[1]", 4, 0)+"}", 4), "no range"},
		{"size differs from shape", rawFile("{"+entryJSON("a", "F32", "[2]", 0, 4)+"}", 4), "takes 8"},
		{"hole at the start", rawFile("{"+entryJSON("a", "F32", "[1]", 4, 8)+"}", 8), "hole of 4"},
		{"hole", rawFile("{"+a+","+entryJSON("b", "F32", "[1]", 8, 12)+"}", 12), "hole of 4"},
		{"overlap", rawFile("{"+a+","+entryJSON("b", "F32", "[1]", 2, 6)+"}", 6), "inside the tensor before it"},
		{"same bytes twice", rawFile("{"+a+","+entryJSON("b", "F32", "[1]", 0, 4)+"}", 4), "inside the tensor before it"},
		{"trailing bytes", rawFile("{"+a+"}", 5), "1 unexplained bytes"},
		{"missing two bytes", rawFile("{"+a+"}", 2), "truncated"},
		{"name of 2 KiB", rawFile("{"+entryJSON(strings.Repeat("n", 2048), "F32", "[1]", 0, 4)+"}", 4), "longer than"},
		{"archive", append([]byte("PK\x03\x04"), make([]byte, 64)...), "not a sound PyTorch file"},
		{"old pickle", append([]byte{0x80, 2, 'c'}, make([]byte, 64)...), "not a sound PyTorch file"},
		{"GGUF", append([]byte("GGUF\x03"), make([]byte, 64)...), "GGUF"},
		{"LFS pointer", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:00"), "git lfs pull"},
		{"web page", []byte("\n<!DOCTYPE html><html></html>"), "web page"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := writeRaw(t, tt.file)
			f, err := OpenFile(path)
			if err == nil {
				f.Close()
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %q\nshould name the file and contain %q", err, tt.want)
			}
		})
	}
}

func TestTooManyTensors(t *testing.T) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i := range maxTensors + 1 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(entryJSON(fmt.Sprint(i), "U8", "[0]", 0, 0))
	}
	b.WriteByte('}')
	_, _, err := parseHeader(b.Bytes(), 0)
	if err == nil || !strings.Contains(err.Error(), "more than 100000 tensors") {
		t.Errorf("error %v", err)
	}
}

func TestHeaderAccepted(t *testing.T) {
	for _, tt := range []struct {
		name    string
		file    []byte
		tensors int
	}{
		{"no tensors", rawFile("{}", 0), 0},
		{"padded", rawFile("{}      ", 0), 0},
		{"only metadata", rawFile(`{"__metadata__":{"format":"pt"}}`, 0), 0},
		{"zero size", rawFile("{"+entryJSON("a", "F32", "[0]", 0, 0)+"}", 0), 1},
		{"zero sizes share an offset", rawFile("{"+entryJSON("a", "F32", "[0,3]", 4, 4)+","+entryJSON("b", "F32", "[1]", 0, 4)+","+entryJSON("c", "U8", "[0]", 4, 4)+"}", 4), 3},
		{"scalar", rawFile("{"+entryJSON("a", "F64", "[]", 0, 8)+"}", 8), 1},
		{"unaligned", rawFile("{"+entryJSON("a", "U8", "[1]", 0, 1)+","+entryJSON("b", "F32", "[1]", 1, 5)+"}", 5), 2},
		{"8-bit floats", rawFile("{"+entryJSON("a", "F8_E4M3", "[2]", 0, 2)+","+entryJSON("b", `F8_E5M\u0032`, "[1]", 2, 3)+"}", 3), 2},
		{"offsets out of name order", rawFile("{"+entryJSON("b", "U8", "[1]", 0, 1)+","+entryJSON("a", "U8", "[1]", 1, 2)+"}", 2), 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := OpenFile(writeRaw(t, tt.file))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if got := len(f.Names()); got != tt.tensors {
				t.Errorf("%d tensors, want %d", got, tt.tensors)
			}
			for _, name := range f.Names() {
				if _, err := f.Tensor(name); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestEightBitTypesSurviveTheLibrary(t *testing.T) {
	long := `\u0046\u0038\u005f\u0045\u0034\u004d\u0033` // F8_E4M3, as long as JSON can write it
	for _, dtype := range []string{"F8_E4M3", long} {
		entries, _, err := parseHeader([]byte("{"+entryJSON("a", dtype, "[2]", 0, 2)+"}"), 2)
		if err != nil {
			t.Fatal(err)
		}
		if entries[0].dtype != F8E4M3 {
			t.Errorf("dtype %s, want F8_E4M3", entries[0].dtype)
		}
	}
}

func FuzzHeader(f *testing.F) {
	f.Add(rawFile("{}", 0))
	f.Add(rawFile("{"+entryJSON("a", "F32", "[1,2]", 0, 8)+","+entryJSON("b", "F8_E4M3", "[]", 8, 9)+"}", 9))
	f.Add(rawFile(`{"__metadata__":{"format":"pt"},`+entryJSON("a", "BF16", "[0]", 0, 0)+"}  ", 0))
	f.Add(rawFile("{"+entryJSON("a", "F32", "[2,18446744073709551614]", 0, 4)+"}", 4))
	f.Add(binary.LittleEndian.AppendUint64(nil, 1<<64-1))
	f.Fuzz(func(t *testing.T, b []byte) {
		file := &File{path: "fuzz", data: memory{bytes.NewReader(b)}}
		if file.read(int64(len(b))) != nil || pickle.Recognise(bytes.NewReader(b)) {
			return
		}
		covered := 0
		for _, name := range file.Names() {
			tensor, err := file.Tensor(name)
			if err != nil {
				t.Fatal(err)
			}
			if want := tensor.Shape.Elements() * tensor.DType.Size(); len(tensor.Data) != want {
				t.Fatalf("%q: %d bytes, want %d", name, len(tensor.Data), want)
			}
			covered += len(tensor.Data)
		}
		if covered != len(b)-int(file.start) {
			t.Fatalf("tensors cover %d of %d bytes", covered, len(b)-int(file.start))
		}
	})
}
