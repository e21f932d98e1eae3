package weights

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"
)

func TestHash(t *testing.T) {
	cache := t.TempDir()
	for _, variable := range []string{"XDG_CACHE_HOME", "LocalAppData", "HOME"} {
		t.Setenv(variable, cache)
	}
	content, err := os.ReadFile(tinySingle)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := os.WriteFile(path, content, 0o666); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	want := hex.EncodeToString(sum[:])
	var group sync.WaitGroup
	c := mustOpen(t, path, Options{})
	for range 4 {
		group.Go(func() {
			if got, err := c.Hash(t.Context()); err != nil || got != want {
				t.Errorf("hash %s, %v, want %s", got, err, want)
			}
		})
	}
	group.Wait()

	notes, _ := filepath.Glob(filepath.Join(cache, "atelier", "hashes", "*"))
	if runtime.GOOS == "linux" && len(notes) != 1 {
		t.Fatalf("the cache has %v, want one note", notes)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	other := append([]byte{}, content...) // of the same size and time: the note is believed
	other[len(other)-1] ^= 1
	if err := errors.Join(os.WriteFile(path, other, 0o666), os.Chtimes(path, info.ModTime(), info.ModTime())); err != nil {
		t.Fatal(err)
	}
	if got := KnownHash(path); got != want {
		t.Errorf("the known hash is %q, want %s", got, want)
	}
	if got := KnownHash(tinySingle); got != "" {
		t.Errorf("of a file that nobody hashed %s is known", got)
	}
	if got, err := HashFile(t.Context(), path); err != nil || got != want {
		t.Errorf("an unchanged file is hashed again: %s, %v", got, err)
	}
	later := info.ModTime().Add(time.Second)
	if err := os.Chtimes(path, later, later); err != nil {
		t.Fatal(err)
	}
	if got, err := HashFile(t.Context(), path); err != nil || got == want {
		t.Errorf("a changed file has the old hash: %s, %v", got, err)
	}

	if got, err := mustOpen(t, tinyFolder, Options{}).Hash(t.Context()); got != "" || err != nil {
		t.Errorf("a folder: %q, %v", got, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if err := os.Chtimes(path, later.Add(time.Second), later.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := HashFile(ctx, path); err == nil || errors.Is(err, context.Canceled) || !errors.Is(err, context.Cause(ctx)) {
		t.Errorf("cancelled: %v", err)
	}
}
