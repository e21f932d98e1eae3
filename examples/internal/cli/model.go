package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/device"
	"github.com/atelier-go/atelier/examples/internal/terminal"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/tinyportrait"
	"github.com/atelier-go/atelier/weights"
	"github.com/atelier-go/atelier/weights/hub"
)

// Model is a checkpoint as a command line names it; the zero value is the built-in tiny portrait model.
type Model struct {
	Path    string
	Options weights.Options
}

// IsTiny reports whether it is the built-in model.
func (m *Model) IsTiny() bool { return m.Path == "" }

// NameOfVAE takes the VAE out of the options if it is no file, but the name of one for a request, which there can be if there are folders
// of them.
func (m *Model) NameOfVAE(dirs []string) (name string) {
	named := len(dirs) > 0 || m.Options.VAE == weights.BuiltInVAE || m.Options.VAE == weights.AutomaticVAE
	if _, err := os.Stat(m.Options.VAE); err != nil && named {
		name, m.Options.VAE = m.Options.VAE, ""
	}
	return name
}

// Open opens the checkpoint, which is downloaded first if it has the name of one on the hub and there is no such file.
func (m *Model) Open(ctx context.Context, log io.Writer) (*weights.Checkpoint, error) {
	if m.IsTiny() {
		return weights.OpenFS(tinyportrait.FS(), tinyportrait.Name, m.Options)
	}
	path := m.Path
	if _, err := os.Stat(path); err != nil && hub.IsID(path) {
		if path, err = m.download(ctx, log); err != nil {
			return nil, err
		}
	}
	return weights.Open(path, m.Options)
}

func (m *Model) download(ctx context.Context, log io.Writer) (path string, err error) {
	client, err := hub.New()
	if err != nil {
		return "", err
	}
	client.Variant = m.Options.Variant
	bar := terminal.NewBar(log, "downloading", "MB")
	defer bar.Done()
	client.Progress = func(p hub.Progress) { bar.Set(int(p.Done/1e6), int(p.Total/1e6)) }
	return client.Snapshot(ctx, m.Path)
}

// Device is where to compute, as a command line says it.
type Device struct {
	Name    string
	Options device.Options
}

// Open opens the device.
func (d *Device) Open() (compute.Device, error) {
	dev, err := device.Open(d.Name, d.Options)
	if err != nil && len(invalid.Fields(err)) == 0 {
		return nil, fmt.Errorf("-device: %w", err)
	}
	return dev, err
}
