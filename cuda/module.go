package cuda

import (
	"errors"
	"fmt"

	"github.com/atelier-go/atelier/cuda/internal/driver"
	"github.com/atelier-go/atelier/cuda/internal/kernel"
)

// loaded is a kernel on the card.
type loaded struct {
	driver.Kernel
	module driver.Module
}

// ready is a kernel, loaded when it is first asked for.
func (d *Device) ready(l kernel.Launch) (driver.Kernel, error) {
	name := l.Kernel.Name()
	if k, ok := d.loaded[name]; ok {
		return k.Kernel, nil
	}
	module, err := d.module(l.Kernel.Text())
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

// module is a kernel's text, assembled for the card: by the driver when it is first met, and kept.
func (d *Device) module(ptx string) (driver.Module, error) {
	if d.cache == nil {
		return d.context.Load(ptx)
	}
	if cubin := d.cache.cubin(ptx); cubin != nil {
		m, err := d.context.LoadCubin(cubin)
		if err == nil || errors.Is(err, ErrContextLost) {
			return m, err
		}
		d.logger().Warn("a kernel is assembled anew", "reason", err)
	}
	cubin, err := d.context.Assemble(ptx)
	if err != nil {
		return d.context.Load(ptx) // which tells what is wrong with it, if it is not the assembling apart
	}
	m, err := d.context.LoadCubin(cubin)
	if err != nil {
		return d.context.Load(ptx)
	}
	d.cache.keepCubin(ptx, cubin)
	return m, nil
}
