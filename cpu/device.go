// Package cpu is the fast CPU device: a worker pool, weights packed once in their stored type, and kernels in
// Go assembly (AVX-512, AVX2) with pure-Go twins for every other machine.
//
// Values are float32 ([compute.F32]); parameters stay F16, BF16 or F32 as the checkpoint has them and are widened a
// panel at a time while they are multiplied; a product and its gradient share them. Sums are kept in float32 in an
// order that depends on shapes alone, so any number of workers gives the same bits. With [compute.PrecisionBF16], matrix
// products round both factors to bfloat16 and still sum in float32: faster on processors with VDPBF16PS, at a relative
// error of 2–3·10⁻³ per product. 3×3 convolutions by Winograd's algorithm, which magnifies rounding, are then sums of 16-bit
// integers with scales, whose error is no larger.
//
// The environment variable ATELIER_CPU=generic|avx2|avx512|avx512bf16 lowers the kernel set that is chosen when a
// device opens. The package knows no network; it compiles whatever a [compute.Program] holds.
package cpu

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu/internal/isa"
	"github.com/atelier-go/atelier/cpu/internal/kernel/gemm"
	"github.com/atelier-go/atelier/invalid"
)

// Options configures a device. The zero value uses every core and float32.
type Options struct {
	Workers   int               // goroutines computing at once; 0 means one for each core of the processor that the process may use
	Precision compute.Precision // in which matrix products are computed; float32 for FP16, and where the processor lacks the instruction for bfloat16
}

// Device is the CPU as a compute.Device. Runs of its executables are serialised and share one arena.
type Device struct {
	set       isa.Set
	precision compute.Precision

	mu      sync.Mutex // held while running, packing, allocating
	pool    *pool
	arena   arena
	need    gemm.Need // what each worker's scratch serves
	scratch []*gemm.Scratch
	closed  bool
}

var (
	_ compute.Device    = (*Device)(nil)
	_ compute.Estimator = (*Device)(nil)
	_ compute.Peaker    = (*Device)(nil)
	_ compute.Preciser  = (*Device)(nil)
	_ compute.Exacter   = (*Device)(nil)
)

// Open starts the device. Options out of range and an unknown ATELIER_CPU are errors.
func Open(o Options) (*Device, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("cpu: %w", err)
	}
	if o.Workers == 0 {
		o.Workers = usual()
	}
	set, err := isa.Choose()
	if err != nil {
		return nil, fmt.Errorf("cpu: %w", err)
	}
	if set < isa.AVX512BF16 || o.Precision != compute.PrecisionBF16 {
		o.Precision = compute.PrecisionFP32
	}
	return &Device{set: set, precision: o.Precision, pool: newPool(o.Workers), scratch: make([]*gemm.Scratch, o.Workers)}, nil
}

// check joins the errors of all fields.
func (o Options) check() error {
	var errs []error
	if o.Workers < 0 || o.Workers > 1024 {
		errs = append(errs, invalid.Field("Options.Workers", o.Workers, "0 (all processors) to 1024"))
	}
	if !o.Precision.Valid() {
		errs = append(errs, invalid.Field("Options.Precision", o.Precision, "fp32, bf16 or fp16"))
	}
	return errors.Join(errs...)
}

// Name is "cpu (KERNELS, PRECISION, N workers)".
func (d *Device) Name() string {
	return fmt.Sprintf("cpu (%v, %v, %d workers)", d.set, d.precision, len(d.scratch))
}

// Workers is how many goroutines compute at once.
func (d *Device) Workers() int { return len(d.scratch) }

// Precision implements compute.Preciser.
func (d *Device) Precision() compute.Precision { return d.precision }

// Exact implements compute.Exacter.
func (d *Device) Exact() (compute.Device, error) { return Open(Options{Workers: len(d.scratch)}) }

// NewTensor implements compute.Device. Float tensors are F32 whatever the host type.
func (d *Device) NewTensor(t compute.DType, shape ...int) (compute.Tensor, error) {
	n := compute.Shape(shape).Elements()
	if n <= 0 {
		return nil, fmt.Errorf("cpu: a tensor of shape %v, want positive extents", compute.Shape(shape))
	}
	own := append(compute.Shape(nil), shape...)
	switch t {
	case compute.F32:
		return &tensor{shape: own, f32: make([]float32, n)}, nil
	case compute.I32:
		return &tensor{shape: own, i32: make([]int32, n)}, nil
	}
	return nil, fmt.Errorf("cpu: a tensor of %v: %w; it holds F32 and I32", t, compute.ErrUnsupported)
}

// Load implements compute.Device.
func (d *Device) Load(src compute.ParamSource) (compute.Params, error) {
	if src == nil {
		return nil, errors.New("cpu: Load of a nil parameter source")
	}
	return &params{device: d, source: src, loaded: make(map[packKey]*loading)}, nil
}

// Close implements compute.Device.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	d.pool.close()
	return d.arena.free()
}

// reserve makes the arena and every worker's scratch serve a program. The caller holds d.mu.
func (d *Device) reserve(arenaBytes int, need gemm.Need) error {
	if err := d.arena.grow(arenaBytes); err != nil {
		return err
	}
	if all := d.need.Max(need); all != d.need || d.scratch[0] == nil {
		d.need = all
		for i := range d.scratch {
			d.scratch[i] = gemm.NewScratch(all)
		}
	}
	return nil
}

// each runs task(0…n-1) on all workers, outside of any program. The caller holds d.mu.
func (d *Device) each(n int, task func(task, worker int)) error {
	_, err := d.pool.run(context.Background(), newCourse([]phase{{n, task}}))
	return err
}

// stopped is the cause if ctx is done.
func stopped(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	default:
		return nil
	}
}
