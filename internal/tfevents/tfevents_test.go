package tfevents_test

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/atelier-go/atelier/internal/tfevents"
)

// golden is what the record writer of TensorBoard 2.21 makes of the same events, with its own protocol buffers.
const golden = "1800000000000000a37f4b220900002040fc54d9411a0d627261696e2e4576656e743a322b353110" +
	"33000000000000000ca720560900005040fc54d94110ac022a250a130a0c6c6f73732f63757272656e74150000003e0a0e0a076c722f756e65741517b7d138fa7c2d70"

func TestWriter(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "run", "network_train")
	start := time.Unix(1700000000, 500_000_000)
	w, err := tfevents.Create(folder, start)
	if err != nil {
		t.Fatal(err)
	}
	err = w.Write(start.Add(750*time.Millisecond), 300, tfevents.Scalar{Tag: "loss/current", Value: 0.125}, tfevents.Scalar{Tag: "lr/unet", Value: 1e-4})
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(w.Path())
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(got); got != golden {
		t.Errorf("the file is\n%s\nwant\n%s", got, golden)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(start, 301); err == nil {
		t.Error("writing to a closed file is no error")
	}
	if _, err := tfevents.Create(w.Path(), start); err == nil {
		t.Error("a folder that is a file is no error")
	}
}
