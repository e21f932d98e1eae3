// Package ref is the oracle: a compute.Device of naive loops with float64 accumulation, written to be obviously right.
//
// Every op of the vocabulary is there with every attribute, each a transcription of the formula in its doc comment;
// sums are float64 and each result is rounded to float32 once. Intermediates live in an arena laid out by
// compute.Plan and filled with NaN before each run, so a planner that lets live values overlap, or an op that
// leaves part of its result unwritten, shows in the result.
//
// [Evaluate] runs a program with its values in float64, for differences that check derivatives.
//
// It is what other devices are compared with and what small models may run on. It is not fast: work is spread over
// the cores by whole rows, which changes no bit of the result, and that is all.
package ref

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/atelier-go/atelier/compute"
)

// Device is the reference device. Activations are F32, ids I32; parameters of every float type are widened to F32.
type Device struct {
	mu     sync.Mutex // serialises compiling, running and tensor access
	arena  []float32  // shared by all executables, as large as the largest program run so far
	ids    []int32    // the same for I32 values
	closed bool
}

var (
	_ compute.Device    = (*Device)(nil)
	_ compute.Estimator = (*Device)(nil)
)

var errClosed = errors.New("ref: the device is closed")

// New returns a reference device.
func New() *Device { return &Device{} }

// Name implements compute.Device.
func (d *Device) Name() string { return "ref (float64 accumulation)" }

// NewTensor implements compute.Device. F16 and BF16 are an error that wraps compute.ErrUnsupported.
func (d *Device) NewTensor(t compute.DType, shape ...int) (compute.Tensor, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errClosed
	}
	typ := compute.Type{DType: t, Shape: slices.Clone(shape)}
	if typ.Bytes() <= 0 {
		return nil, fmt.Errorf("ref: new tensor %v: want a known element type and positive extents", typ)
	}
	n := typ.Shape.Elements()
	switch t {
	case compute.F32:
		return &tensor{device: d, typ: typ, f32: make([]float32, n)}, nil
	case compute.I32:
		return &tensor{device: d, typ: typ, i32: make([]int32, n)}, nil
	}
	return nil, fmt.Errorf("ref: new tensor %v: %w", typ, compute.ErrUnsupported)
}

// Load implements compute.Device.
func (d *Device) Load(src compute.ParamSource) (compute.Params, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errClosed
	}
	if src == nil {
		return nil, errors.New("ref: load: there is no parameter source")
	}
	return &params{device: d, source: src, widened: make(map[string][]float32)}, nil
}

// Estimate implements compute.Estimator: four bytes per parameter element and the largest arena.
func (d *Device) Estimate(src compute.ParamSource, programs ...*compute.Program) (compute.MemoryReport, error) {
	var report compute.MemoryReport
	seen := make(map[string]bool)
	for _, p := range programs {
		for _, v := range p.Params {
			info := p.Values[v.Index()]
			if seen[info.Name] {
				continue
			}
			seen[info.Name] = true
			if _, err := paramType(src, info); err != nil {
				return compute.MemoryReport{}, err
			}
			report.Params += 4 * int64(info.Shape.Elements())
		}
		report.Arena = max(report.Arena, arenaBytes(p, compute.Plan(p, nil)))
	}
	return report, nil
}

// Close implements compute.Device. Closing twice is harmless.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed, d.arena, d.ids = true, nil, nil
	return nil
}
