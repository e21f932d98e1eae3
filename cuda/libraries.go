package cuda

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/atelier-go/atelier/cuda/internal/cublas"
	"github.com/atelier-go/atelier/cuda/internal/cudnn"
	"github.com/atelier-go/atelier/cuda/internal/driver"
	"github.com/atelier-go/atelier/cuda/internal/kernel"
	"github.com/atelier-go/atelier/cuda/internal/library"
)

const (
	algorithms     = 4        // of cuBLASLt for a product, at most
	mostWorkspace  = 32 << 20 // bytes that a library's algorithm may want on a card of a data centre
	smallWorkspace = 8 << 20  // and on others
)

// libraries are NVIDIA's optional ones that were found, in use on a device's context, with what was asked of them.
type libraries struct {
	logger       *slog.Logger
	products     *cublas.Handle // nil if there is none
	convolutions *cudnn.Handle
	workspace    int64
	plans        map[any]*plan // by kernel.Product or kernel.Convolution; nil for what there is no algorithm for
	calls        map[*cudnn.Call]bool
}

// plan is what a library makes of a product or a convolution; one of the two is there.
type plan struct {
	product     *cublas.Plan
	convolution *cudnn.Plan
}

// openLibraries takes into use what a computer has, where the driver may be called. Without any it is nil; why is logged.
func openLibraries(c library.Computer, context *driver.Context, s driver.Stream, logger *slog.Logger) *libraries {
	l := &libraries{logger: logger, workspace: smallWorkspace, plans: make(map[any]*plan), calls: make(map[*cudnn.Call]bool)}
	if dataCenter(context.Card.Capability) {
		l.workspace = mostWorkspace
	}
	cuda := context.Version().Major()
	if products, err := openProducts(c, cuda); err != nil {
		l.absent(library.CuBLAS.Name, err)
	} else {
		l.products = &products
	}
	if convolutions, err := openConvolutions(c, cuda, s); err != nil {
		l.absent(library.CuDNN.Name, err)
	} else {
		l.convolutions = &convolutions
	}
	if l.products == nil && l.convolutions == nil {
		return nil
	}
	return l
}

func openProducts(c library.Computer, cuda int) (cublas.Handle, error) {
	lib, err := cublas.Open(c, cuda)
	if err != nil {
		return cublas.Handle{}, err
	}
	return lib.Handle()
}

func openConvolutions(c library.Computer, cuda int, s driver.Stream) (cudnn.Handle, error) {
	lib, err := cudnn.Open(c, cuda)
	if err != nil {
		return cudnn.Handle{}, err
	}
	return lib.Handle(s)
}

// absent logs why a library is left out: as a warning if there is one.
func (l *libraries) absent(name string, err error) {
	level := slog.LevelWarn
	if nowhere(err) {
		level = slog.LevelDebug // most computers have none
	}
	l.logger.Log(context.Background(), level, "computing without "+name, "reason", err)
}

// nowhere tells whether an error is that of a library of which no file was found.
func nowhere(err error) bool {
	missing, ok := errors.AsType[*library.NotFoundError](err)
	return ok && !slices.ContainsFunc(missing.Attempts, func(a library.Attempt) bool { return a.File != "" })
}

// close gives everything back.
func (l *libraries) close() (err error) {
	if l == nil {
		return nil
	}
	for call := range l.calls {
		err = errors.Join(err, call.Close())
	}
	for _, p := range l.plans {
		switch {
		case p == nil:
		case p.product != nil:
			err = errors.Join(err, p.product.Close())
		default:
			err = errors.Join(err, p.convolution.Close())
		}
	}
	if l.products != nil {
		err = errors.Join(err, l.products.Close())
	}
	if l.convolutions != nil {
		err = errors.Join(err, l.convolutions.Close())
	}
	return err
}

// versions are those of the libraries, "" for one that there is not.
func (l *libraries) versions() (products, convolutions string) {
	if l != nil && l.products != nil {
		products = fmt.Sprint(l.products.Version())
	}
	if l != nil && l.convolutions != nil {
		convolutions = l.convolutions.Version()
	}
	return products, convolutions
}

// plan is that of a call, made when it is first asked for; nil where the library has nothing for it, or there is no library.
func (l *libraries) plan(call any) *plan {
	if p, asked := l.plans[call]; asked {
		return p
	}
	p, err := l.make(call)
	if err != nil {
		level := slog.LevelWarn
		if errors.Is(err, cublas.ErrUnsupported) || errors.Is(err, cudnn.ErrUnsupported) {
			level = slog.LevelDebug
		}
		l.logger.Log(context.Background(), level, "computing with own kernels what a library will not", "call", fmt.Sprintf("%+v", call), "reason", err)
	}
	l.plans[call] = p
	return p
}

func (l *libraries) make(call any) (*plan, error) {
	switch c := call.(type) {
	case kernel.Product:
		if l.products == nil {
			return nil, nil
		}
		p, err := l.products.Plan(cublas.Product{
			Rows: c.Rows, Columns: c.Columns, Depth: c.Depth, Transposed: c.Transposed, Pitch: c.Pitch, Type: cublas.F16, Bias: c.Bias, Residual: c.Residual,
		}, uint64(l.workspace), algorithms)
		if err != nil {
			return nil, err
		}
		return &plan{product: p}, nil
	case kernel.Convolution:
		if l.convolutions == nil {
			return nil, nil
		}
		p, err := l.convolutions.Plan(cudnn.Convolution{
			Batch: c.Batch, Height: c.Height, Width: c.Width, Input: c.Input, Output: c.Output, Kernel: c.Window, Stride: c.Stride,
			Before: c.Before, After: c.After, Gradient: c.Gradient, PerChannel: c.PerChannel, Bias: c.Bias, SiLU: c.SiLU, Residual: c.Residual,
		}, l.workspace)
		if err != nil {
			return nil, err
		}
		return &plan{convolution: p}, nil
	}
	return nil, fmt.Errorf("a call of type %T", call)
}

// algorithms is how many there are to choose from.
func (p *plan) algorithms() int {
	if p.product != nil {
		return p.product.Algorithms()
	}
	return 1
}

// workspace is how many bytes an algorithm wants.
func (p *plan) workspace(algorithm int) int64 {
	if p.product != nil {
		return p.product.Workspace(algorithm)
	}
	return p.convolution.Workspace()
}

// prepare makes room for the workspaces of a way's calls, and reports whether the libraries can do them.
func (l *libraries) prepare(w kernel.Work) (kernel.Work, bool) {
	w.Launches = slices.Clone(w.Launches)
	for i := range w.Launches {
		launch := &w.Launches[i]
		if launch.Call == nil {
			continue
		}
		p := l.plan(launch.Call)
		if p == nil || launch.Algorithm >= p.algorithms() {
			return w, false
		}
		launch.Arguments = append(slices.Clip(launch.Arguments), kernel.Scratch(w.Scratch))
		w.Scratch += int(align(p.workspace(launch.Algorithm)))
	}
	return w, true
}
