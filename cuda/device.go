// Package cuda is the CUDA device: it runs programs on an NVIDIA card with nothing installed but the driver, which it finds and calls
// at run time. Programs build and start where there is none, and [Open] then says what was searched and what to do.
//
// Kernels are written when a program is compiled, and the driver assembles them for the card. All values of a program have their
// places in one arena, which all programs of a device share; parameters are converted while they are read and copied to the card through
// pinned memory. With [compute.PrecisionFP16] networks compute in half precision with float32 sums, and what samplers keep
// stays float32; with [compute.PrecisionFP32] everything is float32.
//
// In half precision products and convolutions are given to cuBLASLt and cuDNN where they are found and are faster, which is timed when an
// op of a shape is first met, and kept: see [Options].
//
// Nothing of this has run on a card yet: see docs/cuda.md for what is proved and how.
package cuda

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"sync"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/driver"
	"github.com/atelier-go/atelier/cuda/internal/kernel"
	"github.com/atelier-go/atelier/cuda/internal/library"
)

// Device is a card as a compute.Device. Runs of its executables are serialised and share one arena.
type Device struct {
	options     Options
	computer    library.Computer // whose libraries are used
	driver      *driver.Driver
	card        driver.Card
	synchronous bool

	mu      sync.Mutex // held while anything is done on the card
	context *driver.Context
	stream  driver.Stream
	kernels *kernel.Kernels
	loaded  map[string]loaded // by the kernel's name

	libraries *libraries // nil where there are none to use
	prefer    preference // of the ways to compute a node
	tuner     *tuner     // nil if nothing is timed
	cache     *cache     // nil if nothing is kept

	arena  block
	held   int64 // bytes of device memory that the device has allocated
	closed bool
}

// block is an allocation in device memory.
type block struct {
	address driver.Address
	size    int64
}

var (
	_ compute.Device    = (*Device)(nil)
	_ compute.Estimator = (*Device)(nil)
	_ compute.Preciser  = (*Device)(nil)
	_ compute.Exacter   = (*Device)(nil)
)

var errClosed = errors.New("cuda: the device is closed")

// Open takes a card into use. Without a driver, or without a card, the error is [ErrNoDevice] and says what was looked
// for.
func Open(o Options) (*Device, error) {
	here := library.Here()
	d, err := driver.Open(here)
	if err != nil {
		return nil, fmt.Errorf("cuda: %w", absent(err))
	}
	return open(d, here, o)
}

// absent makes an error about a missing driver ErrNoDevice.
func absent(err error) error {
	if _, ok := errors.AsType[*library.NotFoundError](err); ok {
		return noDriver{err}
	}
	return err
}

// noDriver is the error of a computer without NVIDIA's driver.
type noDriver struct{ error }

func (e noDriver) Unwrap() error        { return e.error }
func (e noDriver) Is(target error) bool { return target == ErrNoDevice }

// open takes a card of a driver into use, with the libraries of a computer.
func open(d *driver.Driver, c library.Computer, o Options) (*Device, error) {
	cards, err := d.Cards()
	if err != nil {
		return nil, err
	}
	if err := o.check(cards); err != nil {
		return nil, fmt.Errorf("cuda: %w", err)
	}
	card := cards[o.Card]
	if err := capable(card); err != nil {
		return nil, err
	}
	context, err := d.Context(card)
	if err != nil {
		return nil, err
	}
	dev := &Device{
		options: o, computer: c, driver: d, card: card, context: context, loaded: make(map[string]loaded), synchronous: os.Getenv(SynchronousVariable) != "",
	}
	dev.kernels = kernel.New(kernel.Card{Half: dev.half(), Promoted: o.Promoted, Multiprocessors: card.Multiprocessors})
	dev.prefer = dev.fastest
	err = context.Do(func() error {
		if dev.stream, err = context.Stream(); err == nil && dev.half() && useLibraries() {
			dev.libraries = openLibraries(c, context, dev.stream, dev.logger())
		}
		return err
	})
	if err != nil {
		return nil, errors.Join(err, context.Close())
	}
	dev.learn()
	return dev, nil
}

// learn begins with what is known of the card.
func (d *Device) learn() {
	if !d.options.NoCache {
		of := identity{Card: d.card.Name, Capability: d.card.Capability, Driver: d.driver.Version().String()}
		of.CuBLASLt, of.CuDNN = d.libraries.versions()
		d.cache = openCache(d.options, of, d.logger())
	}
	if !d.options.NoTuning {
		d.tuner = &tuner{fastest: d.cache.ways(), clock: d.events}
	}
}

// capable refuses cards that are too old.
func capable(card driver.Card) error {
	if card.Capability < 80 {
		return fmt.Errorf("cuda: %v: %w: the kernels need compute capability 8.0, which cards have from RTX 30 on", card, compute.ErrUnsupported)
	}
	return nil
}

func (d *Device) half() bool { return d.options.Precision != compute.PrecisionFP32 }

// Name is "cuda (CARD, PRECISION)".
func (d *Device) Name() string { return fmt.Sprintf("cuda (%s, %v)", d.card.Name, d.Precision()) }

// Precision implements compute.Preciser.
func (d *Device) Precision() compute.Precision {
	if d.half() {
		return compute.PrecisionFP16
	}
	return compute.PrecisionFP32
}

// Exact implements compute.Exacter: the same card in float32.
func (d *Device) Exact() (compute.Device, error) {
	o := d.options
	o.Precision = compute.PrecisionFP32
	return open(d.driver, d.computer, o)
}

func (d *Device) logger() *slog.Logger { return cmp.Or(d.options.Logger, slog.Default()) }

// Load implements compute.Device.
func (d *Device) Load(source compute.ParamSource) (compute.Params, error) {
	if source == nil {
		return nil, errors.New("cuda: Load of a nil parameter source")
	}
	return &params{device: d, source: source, stored: make(map[form]driver.Address)}, nil
}

// Close implements compute.Device.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	err := d.context.Do(func() error {
		var errs []error
		for _, k := range d.loaded {
			errs = append(errs, k.module.Unload())
		}
		errs = append(errs, d.libraries.close(), d.free(&d.arena), d.stream.Destroy())
		return forgiven(errors.Join(errs...))
	})
	return errors.Join(err, d.context.Close())
}

// forgiven is an error of giving something back, but for that of a lost context, which has given everything back.
func forgiven(err error) error {
	if errors.Is(err, ErrContextLost) {
		return nil
	}
	return err
}

// do runs f where the driver may be called, unless the device is closed. Everything that the device does goes through it.
func (d *Device) do(f func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errClosed
	}
	return d.context.Do(f)
}

// margin is left to the system and to other programs.
func margin() int64 {
	if runtime.GOOS == "windows" {
		return 300 << 20
	}
	return 150 << 20
}

// room refuses what will not fit.
func (d *Device) room(need int64) error {
	free, total, err := d.context.Memory()
	if err != nil {
		return err
	}
	free = max(free-margin(), 0)
	if d.options.Memory > 0 {
		free = min(free, max(d.options.Memory-d.held, 0))
	}
	if need > free {
		return &OutOfMemoryError{Need: need, Free: free, Total: total}
	}
	return nil
}

// alloc allocates device memory, which is not cleared.
func (d *Device) alloc(size int64) (block, error) {
	if size == 0 {
		return block{}, nil
	}
	address, err := d.context.Alloc(size)
	if err != nil {
		return block{}, err
	}
	d.held += size
	return block{address, size}, nil
}

// free gives a block back, and forgets it.
func (d *Device) free(b *block) error {
	if b.size == 0 {
		return nil
	}
	gone := *b
	*b = block{}
	d.held -= gone.size
	return d.context.Free(gone.address)
}

// reserve makes the arena hold a program. Its contents may be lost.
func (d *Device) reserve(size int64) (err error) {
	if size <= d.arena.size {
		return nil
	}
	if err = d.free(&d.arena); err == nil {
		d.arena, err = d.alloc(size)
	}
	return err
}

// typed is the type of a tensor of the given elements, of which there are some.
func typed(t compute.DType, shape []int) (compute.Type, error) {
	typ := compute.Type{DType: t, Shape: slices.Clone(shape)}
	switch {
	case t != compute.F32 && t != compute.I32:
		return typ, fmt.Errorf("cuda: a tensor %v: %w; it holds F32 and I32", typ, compute.ErrUnsupported)
	case typ.Bytes() <= 0:
		return typ, fmt.Errorf("cuda: a tensor %v, want positive extents", typ)
	}
	return typ, nil
}
