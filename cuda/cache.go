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
	"regexp"
	"slices"
	"strings"

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

const (
	mostCached = 16 << 20 // bytes that a file is read of
	mostKept   = 64 << 20 // bytes of all files when a device begins to use them; what a card needs for one version of everything is a few
)

// kept is how files of the cache are named.
var kept = regexp.MustCompile(`^(ways|kernel)-[0-9a-f-]+\.(json|cubin)$`)

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
	c := &cache{folder, logger, of}
	c.shrink(mostKept)
	return c
}

// shrink removes files until those that are left have at most so many bytes: what was learned of other cards, drivers and libraries goes
// first, and of each the oldest.
func (c *cache) shrink(most int64) {
	entries, err := os.ReadDir(c.folder)
	if err != nil {
		return // there is none yet, or writing will tell
	}
	var files []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && kept.MatchString(info.Name()) {
			files, most = append(files, info), most-info.Size()
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int {
		if own := c.own(a.Name()); own != c.own(b.Name()) {
			if own {
				return 1
			}
			return -1
		}
		return a.ModTime().Compare(b.ModTime())
	})
	for _, f := range files {
		if most >= 0 {
			return
		}
		if err := os.Remove(filepath.Join(c.folder, f.Name())); err != nil {
			c.logger.Warn("a file of what was learned of cards cannot be removed", "reason", err)
			continue
		}
		most += f.Size()
	}
}

// mark is what the names of files of this card, driver and libraries have.
func (c *cache) mark() string { return fmt.Sprintf("-%x", digest(fmt.Sprint(c.identity))[:6]) }

// own tells whether a file is of this card, driver and libraries.
func (c *cache) own(name string) bool { return strings.Contains(name, c.mark()) }

// path is that of a file for this card, by what else it depends on.
func (c *cache) path(kind string, more ...string) string {
	name := kind + c.mark()
	for _, text := range more {
		name += fmt.Sprintf("-%x", digest(text)[:12])
	}
	return filepath.Join(c.folder, name)
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
