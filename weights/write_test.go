package weights

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
)

func TestWriteThenRead(t *testing.T) {
	tensors := []Tensor{
		{"scalar", F32, compute.Shape{}, []byte{0, 0, 128, 63}},
		{"nil shape", I64, nil, make([]byte, 8)},
		{"empty", F16, compute.Shape{0, 3}, nil},
		{"<b>&", F16, compute.Shape{1, 2}, []byte{1, 2, 3, 4}},
		{"bytes", U8, compute.Shape{3}, []byte{1, 2, 3}},
		{"naïve ☃", BF16, compute.Shape{2, 1}, []byte{5, 6, 7, 8}},
	}
	metadata := map[string]string{"format": "pt", "title": "a \"title\"\n"}
	path := filepath.Join(t.TempDir(), "out.safetensors")
	if err := Write(path, tensors, metadata); err != nil {
		t.Fatal(err)
	}
	f, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, want := range tensors {
		got, err := f.Tensor(want.Name)
		if err != nil {
			t.Fatal(err)
		}
		if got.DType != want.DType || !got.Shape.Equal(want.Shape) || !bytes.Equal(got.Data, want.Data) {
			t.Errorf("have %v, want %v", got, want)
		}
	}
	if got := f.Metadata(); len(got) != 2 || got["title"] != metadata["title"] {
		t.Errorf("metadata %v", got)
	}

	var first, second bytes.Buffer
	if err := Encode(&first, tensors, metadata); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(tensors)
	if err := Encode(&second, tensors, metadata); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the order of the arguments shows in the file")
	}
}

func TestWriteRefuses(t *testing.T) {
	ok := Tensor{"a", F32, compute.Shape{1}, make([]byte, 4)}
	for _, tt := range []struct {
		name    string
		tensors []Tensor
		want    string
	}{
		{"duplicate", []Tensor{ok, ok}, "appears twice"},
		{"short data", []Tensor{{"a", F32, compute.Shape{2}, make([]byte, 4)}}, "takes 8"},
		{"long data", []Tensor{{"a", F32, compute.Shape{}, make([]byte, 8)}}, "takes 4"},
		{"8-bit float", []Tensor{{"a", F8E4M3, compute.Shape{1}, make([]byte, 1)}}, "convert it to F16"},
		{"unknown type", []Tensor{{"a", "F31", compute.Shape{1}, make([]byte, 4)}}, "unknown dtype"},
		{"negative", []Tensor{{"a", F32, compute.Shape{-1}, make([]byte, 4)}}, "have 4 bytes"},
		{"overflow", []Tensor{{"a", F32, compute.Shape{1 << 62, 1 << 62}, nil}}, "have 0 bytes"},
		{"no name", []Tensor{{"", F32, compute.Shape{1}, make([]byte, 4)}}, "usable name"},
		{"reserved name", []Tensor{{"__metadata__", F32, compute.Shape{1}, make([]byte, 4)}}, "usable name"},
		{"name not UTF-8", []Tensor{{"\xff", F32, compute.Shape{1}, make([]byte, 4)}}, "usable name"},
		{"rank", []Tensor{{"a", F32, make(compute.Shape, 9), nil}}, "rank 9"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "out.safetensors")
			if err := os.WriteFile(path, []byte("before"), 0o666); err != nil {
				t.Fatal(err)
			}
			err := Write(path, tt.tensors, nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			assertOnly(t, dir, "out.safetensors", "before")
		})
	}
}

// assertOnly checks that dir holds one file with the given content: nothing half-written.
func assertOnly(t *testing.T, dir, name, content string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != name {
		t.Errorf("folder holds %v, want only %s", entries, name)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, name)); string(b) != content {
		t.Errorf("content %q, want %q", b, content)
	}
}

func TestWriteUnwritable(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "nowhere", "out.safetensors")
	if err := Write(path, nil, nil); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v should name %s", err, path)
	}
}

func TestWriteDiskFull(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /dev/full, which only Linux has")
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("needs /dev/full: ", err)
	}
	defer full.Close()
	dir := t.TempDir()
	path := filepath.Join(dir, "out.safetensors")
	if err := os.WriteFile(path, []byte("before"), 0o666); err != nil {
		t.Fatal(err)
	}
	err = writeFile(path, func(io.Writer) error {
		_, err := full.Write([]byte("x"))
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("error %v", err)
	}
	assertOnly(t, dir, "out.safetensors", "before")
}
