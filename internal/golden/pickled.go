package golden

import (
	"archive/zip"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/atelier-go/atelier/weights"
)

// Pickled makes the file called name that PyTorch 2.0.1 wrote of the tensors of a safetensors file, out of the pickle that it
// wrote, packed with gzip, and the tensors themselves, of which array i is the one at i in the file. It returns its path.
func Pickled(t testing.TB, name, pickle, safetensors string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := pack(path, pickle, safetensors); err != nil {
		t.Fatal(err)
	}
	return path
}

func pack(path, pickle, safetensors string) error {
	packed, err := os.Open(pickle)
	if err != nil {
		return err
	}
	defer packed.Close()
	tensors, err := weights.OpenFile(safetensors)
	if err != nil {
		return err
	}
	defer tensors.Close()
	opcodes, err := gzip.NewReader(packed)
	if err != nil {
		return err
	}
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer out.Close()
	archive := zip.NewWriter(out)
	record, err := archive.CreateHeader(&zip.FileHeader{Name: "archive/data.pkl"})
	if err != nil {
		return err
	}
	if _, err := io.Copy(record, opcodes); err != nil {
		return err
	}
	for i, name := range tensors.Names() {
		x, err := tensors.Tensor(name)
		if err != nil {
			return err
		}
		record, err := archive.CreateHeader(&zip.FileHeader{Name: "archive/data/" + strconv.Itoa(i)})
		if err != nil {
			return err
		}
		if _, err := record.Write(x.Data); err != nil {
			return err
		}
	}
	return archive.Close()
}
