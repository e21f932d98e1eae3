// Package cuda is the CUDA device: it runs programs on an NVIDIA card with nothing installed but the driver, which it finds and calls
// at run time. Programs build and start where there is none, and [Open] then says what was searched and what to do.
//
// Kernels are written when a program is compiled, and the driver assembles them for the card. All values of a program have their
// places in one arena, which all programs of a device share; parameters are converted while they are read and copied to the card through
// pinned memory. With [compute.PrecisionFP16] networks compute in half precision with float32 sums, and what samplers keep
// stays float32; with [compute.PrecisionFP32] everything is float32.
//
// Nothing of this has run on a card yet: see docs/cuda.md for what is proved and how.
package cuda

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/driver"
	"github.com/atelier-go/atelier/cuda/internal/kernel"
	"github.com/atelier-go/atelier/cuda/internal/library"
	"github.com/atelier-go/atelier/invalid"
)

// Options configures a device. The zero value is the first card in float32.
type Options struct {
	Card      int               // which card, from 0, in the driver's order
	Precision compute.Precision // FP32, or FP16; BF16 computes in half precision too
	Memory    int64             // how many bytes of the card's memory the device may take; 0 is all that is free
}

// SynchronousVariable names the environment variable that, if it is not empty, has a device wait after every launch, so that an error
// names the op whose kernel failed. It is slow.
const SynchronousVariable = "ATELIER_CUDA_SYNC"

// Device is a card as a compute.Device. Runs of its executables are serialised and share one arena.
type Device struct {
	options     Options
	driver      *driver.Driver
	card        driver.Card
	synchronous bool

	mu      sync.Mutex // held while anything is done on the card
	context *driver.Context
	stream  driver.Stream
	kernels *kernel.Kernels
	loaded  map[string]loaded // by the kernel's name
	arena   block
	held    int64 // bytes of device memory that the device has allocated
	closed  bool
}

// loaded is a kernel on the card.
type loaded struct {
	driver.Kernel
	module driver.Module
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
	d, err := driver.Open(library.Here())
	if err != nil {
		return nil, fmt.Errorf("cuda: %w", absent(err))
	}
	return open(d, o)
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

// open takes a card of a driver into use.
func open(d *driver.Driver, o Options) (*Device, error) {
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
		options: o, driver: d, card: card, context: context, loaded: make(map[string]loaded), synchronous: os.Getenv(SynchronousVariable) != "",
	}
	dev.kernels = kernel.New(kernel.Card{Half: dev.half(), Multiprocessors: card.Multiprocessors})
	err = context.Do(func() error {
		dev.stream, err = context.Stream()
		return err
	})
	if err != nil {
		return nil, errors.Join(err, context.Close())
	}
	return dev, nil
}

// capable refuses cards that are too old.
func capable(card driver.Card) error {
	if card.Capability < 80 {
		return fmt.Errorf("cuda: %v: %w: the kernels need compute capability 8.0, which cards have from RTX 30 on", card, compute.ErrUnsupported)
	}
	return nil
}

// check joins the errors of all fields.
func (o Options) check(cards []driver.Card) error {
	var errs []error
	if o.Card < 0 || o.Card >= len(cards) {
		errs = append(errs, invalid.Field("Options.Card", o.Card, "0 to %d, the cards that the driver lists", len(cards)-1))
	}
	if !o.Precision.Valid() {
		errs = append(errs, invalid.Field("Options.Precision", o.Precision, "fp32, bf16 or fp16"))
	}
	if o.Memory < 0 {
		errs = append(errs, invalid.Field("Options.Memory", o.Memory, "0 (all that is free) or more bytes"))
	}
	return errors.Join(errs...)
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
	return open(d.driver, o)
}

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
		errs = append(errs, d.free(&d.arena), d.stream.Destroy())
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

// ready is a kernel, loaded when it is first asked for.
func (d *Device) ready(l kernel.Launch) (driver.Kernel, error) {
	name := l.Kernel.Name()
	if k, ok := d.loaded[name]; ok {
		return k.Kernel, nil
	}
	module, err := d.context.Load(l.Kernel.Text())
	if err != nil {
		return driver.Kernel{}, fmt.Errorf("kernel %s: %w", name, err)
	}
	k, err := module.Kernel(name, l.Shared)
	if err != nil {
		return driver.Kernel{}, errors.Join(err, module.Unload())
	}
	d.loaded[name] = loaded{k, module}
	return k, nil
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
