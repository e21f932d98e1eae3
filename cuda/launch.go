package cuda

import (
	"github.com/atelier-go/atelier/cuda/internal/cublas"
	"github.com/atelier-go/atelier/cuda/internal/cudnn"
	"github.com/atelier-go/atelier/cuda/internal/driver"
	"github.com/atelier-go/atelier/cuda/internal/kernel"
)

// launch is what a stream is given, again and again: a kernel, or the product or convolution of a library.
type launch interface {
	// Set changes argument i for the next Run.
	Set(i int, value uint64)
	Run(s driver.Stream) error
	Close() error
}

// kernelLaunch is that of a kernel.
type kernelLaunch struct{ *driver.Launch }

func (l kernelLaunch) Run(s driver.Stream) error { return s.Run(l.Launch) }
func (l kernelLaunch) Close() error              { return nil }

// productCall is one of cuBLASLt's.
type productCall struct{ *cublas.Call }

func (c productCall) Set(i int, value uint64) {
	at := [...]*driver.Address{
		kernel.CallY: &c.At.Y, kernel.CallX: &c.At.X, kernel.CallW: &c.At.W, kernel.CallBias: &c.At.Bias, kernel.CallResidual: &c.At.Residual,
		kernel.CallWorkspace: &c.At.Workspace,
	}
	if at[i] != nil { // it has no addend per channel
		*at[i] = driver.Address(value)
	}
}

func (c productCall) Close() error { return nil }

// convolutionCall is one of cuDNN's, on the device's stream.
type convolutionCall struct {
	*cudnn.Call
	libraries *libraries
}

func (c convolutionCall) Set(i int, value uint64) {
	at := [...]*driver.Address{
		kernel.CallY: &c.At.Y, kernel.CallX: &c.At.X, kernel.CallW: &c.At.W, kernel.CallBias: &c.At.Bias, kernel.CallPerChannel: &c.At.PerChannel,
		kernel.CallResidual: &c.At.Residual, kernel.CallWorkspace: &c.At.Workspace,
	}
	*at[i] = driver.Address(value)
}

func (c convolutionCall) Run(driver.Stream) error { return c.Call.Run() }

func (c convolutionCall) Close() error {
	delete(c.libraries.calls, c.Call)
	return c.Call.Close()
}

// launch makes a launch of one that was chosen, with the values of its arguments.
func (d *Device) launch(l kernel.Launch, values []uint64) (launch, error) {
	if l.Call != nil {
		return d.libraries.launch(l, values), nil
	}
	k, err := d.ready(l)
	if err != nil {
		return nil, err
	}
	return kernelLaunch{k.Launch(driver.Grid{Blocks: l.Grid, Threads: l.Kernel.Threads(), Shared: l.Shared}, values...)}, nil
}

// launch is a call that was planned.
func (l *libraries) launch(of kernel.Launch, values []uint64) (c launch) {
	if p := l.plan(of.Call); p.product != nil {
		c = productCall{p.product.Call(of.Algorithm)}
	} else {
		call := p.convolution.Call()
		l.calls[call] = true
		c = convolutionCall{call, l}
	}
	for i, v := range values {
		c.Set(i, v)
	}
	return c
}
