package engine

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/weights"
)

// Cache holds on a device what networks need to run: parameters, and programs compiled against them. Of each network it holds
// one variant, and more only while programs of several are in use. Its methods may be called from several goroutines.
type Cache struct {
	device   compute.Device
	networks *Networks
	most     int // programs that are kept for later

	mu       sync.Mutex
	closed   bool
	loaded   []*params
	current  map[weights.Kind]*params // asked for last
	programs map[programKey]*program
	clock    uint64 // counts acquisitions
}

// NewCache keeps up to the given number of programs compiled that nobody uses at the moment, those used last.
func NewCache(dev compute.Device, n *Networks, most int) *Cache {
	return &Cache{device: dev, networks: n, most: most, current: make(map[weights.Kind]*params), programs: make(map[programKey]*program)}
}

// Variant is what a network's parameters are taken from. The zero Variant is the checkpoint.
type Variant struct {
	ID     string                              // only variants of the same parameters have the same
	Source func() (compute.ParamSource, error) // is asked when they are not there; nil is the checkpoint
}

// params are a variant of a network's parameters on the device.
type params struct {
	compute.Params
	kind   weights.Kind
	id     string
	source compute.ParamSource
}

// programKey identifies a compiled program.
type programKey struct {
	on *params
	Key
}

// program is a compiled program.
type program struct {
	compute.Executable
	recorded *compute.Program
	key      programKey
	users    int    // frames that hold it
	used     uint64 // when it was last acquired
}

// acquire returns the program of a key, loading and compiling what is needed. The caller holds it, and with it the parameters,
// until release.
func (c *Cache) acquire(k Key, v Variant) (*program, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errors.New("engine: the networks are closed")
	}
	on, err := c.load(k.Network(), v)
	if err != nil {
		return nil, err
	}
	p := c.programs[programKey{on, k}]
	if p == nil {
		if p, err = c.compile(programKey{on, k}); err != nil {
			return nil, err
		}
	}
	c.clock++
	p.users++
	p.used = c.clock
	return p, nil
}

// load returns a variant of a network's parameters. Those of others that are idle make room for it before. The caller holds mu
// and acquires a program before it gives it up.
func (c *Cache) load(kind weights.Kind, v Variant) (*params, error) {
	var on *params
	for _, l := range c.loaded {
		if l.kind == kind && l.id == v.ID {
			on = l
		}
	}
	var source compute.ParamSource
	if on == nil {
		var err error
		if source, err = c.source(kind, v); err != nil {
			return nil, err
		}
		if on, err = c.reload(kind, v.ID, source); err != nil {
			return nil, err
		}
	}
	if err := c.unloadIdle(kind, on); err != nil {
		return nil, err
	}
	if on == nil {
		made, err := c.device.Load(source)
		if err != nil {
			return nil, err
		}
		on = &params{made, kind, v.ID, source}
		c.loaded = append(c.loaded, on)
	}
	c.current[kind] = on
	return on, nil
}

// source is where a variant's parameters are.
func (c *Cache) source(kind weights.Kind, v Variant) (compute.ParamSource, error) {
	if v.Source == nil {
		return c.networks.Components[kind], nil
	}
	return v.Source()
}

// reload makes idle parameters of another variant those of this one, where the device can, which is much less work than loading all of them;
// their programs go on with them. It returns nil if there are none. The caller holds mu.
func (c *Cache) reload(kind weights.Kind, id string, source compute.ParamSource) (*params, error) {
	used := c.used()
	for i, l := range c.loaded {
		r, can := l.Params.(compute.Reloader)
		if l.kind != kind || used[l] || !can {
			continue
		}
		names, known := compute.Differences(l.source, source)
		if !known {
			continue
		}
		if err := r.Reload(source, names); err != nil {
			c.loaded = slices.Delete(c.loaded, i, i+1)
			return nil, errors.Join(err, c.unload(l))
		}
		l.id, l.source = id, source
		return l, nil
	}
	return nil, nil
}

// used are the parameters of programs that somebody holds. The caller holds mu.
func (c *Cache) used() map[*params]bool {
	used := make(map[*params]bool)
	for key, p := range c.programs {
		used[key.on] = used[key.on] || p.users > 0
	}
	return used
}

// compile makes a program, for which the longest unused one makes room. The caller holds mu.
func (c *Cache) compile(key programKey) (*program, error) {
	recorded, err := c.networks.Record(key.Key)
	if err != nil {
		return nil, err
	}
	if err := c.shrink(c.most - 1); err != nil {
		return nil, err
	}
	made, err := c.device.Compile(recorded, key.on.Params)
	if err != nil {
		return nil, fmt.Errorf("engine: %s: %w", c.networks.Checkpoint.Path(), err)
	}
	p := &program{Executable: made, recorded: recorded, key: key}
	c.programs[key] = p
	return p, nil
}

// release ends the use of a program. Parameters whose place others have taken meanwhile are given back.
func (c *Cache) release(p *program) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.users--
	return errors.Join(c.unloadIdle(p.key.on.kind, c.current[p.key.on.kind]), c.shrink(c.most))
}

// shrink closes the longest unused programs until there are no more than most, or all are in use. The caller holds mu.
func (c *Cache) shrink(most int) error {
	var errs []error
	for len(c.programs) > max(0, most) {
		var oldest *program
		for _, p := range c.programs {
			if p.users == 0 && (oldest == nil || p.used < oldest.used) {
				oldest = p
			}
		}
		if oldest == nil {
			break
		}
		errs = append(errs, c.drop(oldest))
	}
	return errors.Join(errs...)
}

// drop closes a program. The caller holds mu.
func (c *Cache) drop(p *program) error {
	delete(c.programs, p.key)
	return p.Close()
}

// unloadIdle gives back a network's parameters that nobody uses, except for those to keep. The caller holds mu.
func (c *Cache) unloadIdle(kind weights.Kind, keep *params) error {
	used := c.used()
	used[keep] = true
	var errs []error
	var left []*params
	for _, l := range c.loaded {
		if l.kind != kind || used[l] {
			left = append(left, l)
		} else {
			errs = append(errs, c.unload(l))
		}
	}
	c.loaded = left
	return errors.Join(errs...)
}

// Trim gives back all that nobody uses.
func (c *Cache) Trim() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	errs := []error{c.shrink(0)}
	for _, kind := range slices.Collect(maps.Keys(c.current)) {
		errs = append(errs, c.unloadIdle(kind, nil))
	}
	return errors.Join(errs...)
}

// unload closes parameters and the programs compiled against them. The caller holds mu.
func (c *Cache) unload(l *params) error {
	var errs []error
	for _, p := range c.programs {
		if p.key.on == l {
			errs = append(errs, c.drop(p))
		}
	}
	return errors.Join(append(errs, l.Close())...)
}

// Usage is what a cache holds.
type Usage struct {
	compute.MemoryReport
	Loaded, Programs int // sets of parameters and programs
}

// Usage counts what is held now.
func (c *Cache) Usage() Usage {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := Usage{Loaded: len(c.loaded), Programs: len(c.programs)}
	for _, p := range c.programs {
		m := p.Memory()
		u.Arena, u.Worker = max(u.Arena, m.Arena), max(u.Worker, m.Worker)
	}
	for _, l := range c.loaded {
		u.Params += l.Memory()
	}
	return u
}

// Close gives everything back. Frames must be closed before; closing twice is harmless.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	var errs []error
	for _, l := range c.loaded {
		errs = append(errs, c.unload(l))
	}
	c.loaded = nil
	return errors.Join(errs...)
}
