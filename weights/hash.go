package weights

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/atelier-go/atelier/internal/atomicfile"
	"github.com/atelier-go/atelier/internal/openfile"
)

// Hash is the SHA-256 of the checkpoint's file in hexadecimal digits, of which the web UI shows the first ten as "Model
// hash". It is "" for a folder, for which nobody has such a hash. The first call reads the whole file, which takes seconds;
// the result is kept in the user's cache folder, for as long as the file's path, size and time stay the same. It is safe for
// concurrent use.
func (c *Checkpoint) Hash(ctx context.Context) (string, error) {
	main := c.sources[0]
	if main.root != nil || len(main.files) == 0 {
		return "", nil
	}
	hash, err := hashOf(ctx, main.files[0].data, main.path)
	if err != nil {
		return "", fmt.Errorf("weights: %s: %w", main.path, err)
	}
	return hash, nil
}

// HashFile is Checkpoint.Hash for any file, such as that of a VAE.
func HashFile(ctx context.Context, path string) (string, error) {
	f, err := openfile.Open(path)
	if err != nil {
		return "", fmt.Errorf("weights: %w", err)
	}
	defer f.Close()
	data, err := openStorage(f, 0)
	if err == nil {
		var hash string
		if hash, err = hashOf(ctx, data, path); err == nil {
			return hash, nil
		}
	}
	return "", fmt.Errorf("weights: %s: %w", path, err)
}

// KnownHash is what HashFile would be, if it has been computed before and the file is as it was then; else it is "". It reads nothing of
// the file.
func KnownHash(path string) string {
	f, err := openfile.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	data, err := openStorage(f, 0)
	if err != nil {
		return ""
	}
	hash, _, _ := noted(data, path)
	return hash
}

// noted is the hash that the cache has of what is stored, "" if none, with the note where it is kept and the key before it.
func noted(data storage, path string) (hash, note, key string) {
	if d, ok := data.(*disk); ok {
		note, key = noteOf(path, d.opened)
	}
	if text, err := openfile.ReadFile(note, 1<<10); err == nil && len(text) == len(key)+sha256.Size*2 && string(text[:len(key)]) == key {
		hash = string(text[len(key):])
	}
	return hash, note, key
}

// hashOf hashes what is stored, unless that has been done before.
func hashOf(ctx context.Context, data storage, path string) (string, error) {
	hash, note, key := noted(data, path)
	if hash != "" {
		return hash, nil
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, cancelled{ctx, io.NewSectionReader(data, 0, 1<<62)}); err != nil {
		return "", err
	}
	hash = hex.EncodeToString(sum.Sum(nil))
	if note != "" && os.MkdirAll(filepath.Dir(note), 0o777) == nil {
		_ = atomicfile.WriteFile(note, []byte(key+hash)) // else it is computed again the next time
	}
	return hash, nil
}

// noteOf is the file in the cache that has a file's hash behind the key that says of which state; "" if there is no cache.
func noteOf(path string, s stamp) (note, key string) {
	cache, err1 := os.UserCacheDir()
	path, err2 := filepath.Abs(path)
	if err1 != nil || err2 != nil {
		return "", ""
	}
	name := sha256.Sum256([]byte(path))
	return filepath.Join(cache, "atelier", "hashes", hex.EncodeToString(name[:16])), fmt.Sprintf("%q %d %d ", path, s.size, s.modified)
}

// cancelled is a reader that ends with its context.
type cancelled struct {
	ctx context.Context
	io.Reader
}

// Read implements io.Reader.
func (c cancelled) Read(b []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.Reader.Read(b)
}
