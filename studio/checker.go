package studio

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image"
	"log/slog"
	"sync"

	"github.com/atelier-go/atelier/face"
)

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// looker is a detector that remembers what it found, so that photos that were looked at cost little when others come.
type looker struct {
	face.Detector
	memory *memory
	looked func() // is told of each picture
}

// memory is what was found in pictures.
type memory struct {
	mu    sync.Mutex
	known map[string][]face.Face
}

// maxKnown is how many pictures are remembered.
const maxKnown = 4096

// Find implements face.Detector.
func (l looker) Find(ctx context.Context, img *image.NRGBA) ([]face.Face, error) {
	defer l.looked()
	h := sha256.New()
	fmt.Fprintf(h, "%T %v\n", l.Detector, img.Rect)
	for y := range img.Rect.Dy() {
		h.Write(img.Pix[y*img.Stride : y*img.Stride+4*img.Rect.Dx()])
	}
	key := string(h.Sum(nil))
	if faces, ok := l.memory.get(key); ok {
		return faces, nil
	}
	faces, err := l.Detector.Find(ctx, img)
	if err == nil {
		l.memory.put(key, faces)
	}
	return faces, err
}

func (m *memory) get(key string) (faces []face.Face, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	faces, ok = m.known[key]
	return faces, ok
}

func (m *memory) put(key string, faces []face.Face) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil || len(m.known) >= maxKnown {
		m.known = make(map[string][]face.Face)
	}
	m.known[key] = faces
}

// checker looks at the photos of portraits in the background, those of one at a time.
type checker struct {
	logger *slog.Logger
	stop   context.Context // ends what runs
	memory memory

	turn    sync.Mutex // of who looks
	mu      sync.Mutex
	running map[string]*checking
	faults  map[string]string // why the last check of a portrait ended early
	wait    sync.WaitGroup
}

// checking is a check that runs or waits.
type checking struct {
	cancel      context.CancelFunc
	done, total int
}

// progress says how far the check of a portrait is.
func (c *checker) progress(id string) (done, total int, running bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.running[id]; r != nil {
		return r.done, r.total, true
	}
	return 0, 0, false
}

// failure says why the last check of a portrait ended early, "" if it did not.
func (c *checker) failure(id string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.faults[id]
}

// start looks at a portrait's photos anew; a check of it that runs ends.
func (c *checker) start(p project, detector face.Detector, resolution int) {
	ctx, cancel := context.WithCancel(c.stop)
	mine := &checking{cancel: cancel, total: len(p.names())}
	c.begin(p.ID, mine)
	c.wait.Go(func() {
		defer cancel()
		c.turn.Lock()
		defer c.turn.Unlock()
		err := context.Cause(ctx)
		if err == nil && mine.total > 0 {
			looked := func() { c.mu.Lock(); mine.done++; c.mu.Unlock() }
			err = p.check(ctx, looker{detector, &c.memory, looked}, resolution)
		}
		c.end(ctx, p.ID, mine, err)
	})
}

func (c *checker) begin(id string, mine *checking) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == nil {
		c.running, c.faults = make(map[string]*checking), make(map[string]string)
	}
	if before := c.running[id]; before != nil {
		before.cancel()
	}
	c.running[id] = mine
	delete(c.faults, id)
}

func (c *checker) end(ctx context.Context, id string, mine *checking, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running[id] != mine {
		return
	}
	delete(c.running, id)
	if err != nil && ctx.Err() == nil {
		c.faults[id] = err.Error()
		c.logger.Warn("photos could not be looked at", "portrait", id, "error", err)
	}
}
