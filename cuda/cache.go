package cuda

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"

	"github.com/atelier-go/atelier/internal/atomicfile"
	"github.com/atelier-go/atelier/internal/openfile"
)

// cache keeps in a folder what was learned of a card: how it computes fastest, and the kernels as its driver assembled them. What cannot be
// read or written is logged, and learned anew. A nil one keeps nothing.
type cache struct {
	folder string
	logger *slog.Logger
	identity
}

// identity is what all that is kept depends on, beside the text of kernels.
type identity struct {
	Card       string `json:"card"`
	Capability int    `json:"compute_capability"`
	Driver     string `json:"driver"`
	CuBLASLt   string `json:"cublaslt,omitzero"`
	CuDNN      string `json:"cudnn,omitzero"`
}

// timings is the file of ways.
type timings struct {
	identity
	Fastest map[string]string `json:"fastest"`
}

// mostCached is the most bytes that a file is read of.
const mostCached = 16 << 20

// openCache is the cache that the options ask for; without a folder to be in, there is none.
func openCache(o Options, of identity, logger *slog.Logger) *cache {
	folder := o.Cache
	if folder == "" {
		home, err := os.UserCacheDir()
		if err != nil {
			logger.Debug("nothing is kept of what is learned of the card", "reason", err)
			return nil
		}
		folder = filepath.Join(home, "atelier", "cuda")
	}
	return &cache{folder, logger, of}
}

// path is that of a file for this card, by what else it depends on.
func (c *cache) path(kind string, more ...string) string {
	return filepath.Join(c.folder, fmt.Sprintf("%s-%x", kind, digest(fmt.Sprint(c.identity, more))[:12]))
}

func digest(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

// ways are the fastest ways that are known.
func (c *cache) ways() map[string]string {
	known := make(map[string]string)
	if c == nil {
		return known
	}
	path := c.path("ways") + ".json"
	data, err := openfile.ReadFile(path, mostCached)
	if errors.Is(err, fs.ErrNotExist) {
		return known
	}
	var t timings
	if err == nil {
		err = json.Unmarshal(data, &t)
	}
	if err == nil && t.identity != c.identity {
		err = fmt.Errorf("it is of %+v", t.identity)
	}
	if err != nil {
		c.logger.Warn("what was learned of the card is learned anew", "file", path, "reason", err)
		return known
	}
	maps.Copy(known, t.Fastest)
	return known
}

// keepWays replaces the file of ways.
func (c *cache) keepWays(known map[string]string) {
	if c == nil {
		return
	}
	data, err := json.MarshalIndent(timings{c.identity, known}, "", "\t")
	if err == nil {
		err = c.write(c.path("ways")+".json", append(data, '\n'))
	}
	c.tell(err)
}

// cubin is a kernel as the driver assembled it before, nil if it is not known. Its sum is in front of it.
func (c *cache) cubin(ptx string) []byte {
	path := c.path("kernel", ptx) + ".cubin"
	data, err := openfile.ReadFile(path, mostCached)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && (len(data) < sha256.Size || !bytes.Equal(data[:sha256.Size], digest(string(data[sha256.Size:])))) {
		err = errors.New("it is damaged")
	}
	if err != nil {
		c.logger.Warn("a kernel is assembled anew", "file", path, "reason", err)
		return nil
	}
	return data[sha256.Size:]
}

// keepCubin keeps a kernel as the driver assembled it.
func (c *cache) keepCubin(ptx string, cubin []byte) {
	c.tell(c.write(c.path("kernel", ptx)+".cubin", append(digest(string(cubin)), cubin...)))
}

func (c *cache) write(path string, data []byte) error {
	if err := os.MkdirAll(c.folder, 0o777); err != nil {
		return err
	}
	return atomicfile.WriteFile(path, data)
}

// tell logs why something is not kept.
func (c *cache) tell(err error) {
	if err != nil {
		c.logger.Warn("what was learned of the card is not kept", "folder", c.folder, "reason", err)
	}
}
