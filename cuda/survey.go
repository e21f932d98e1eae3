package cuda

import (
	"errors"
	"fmt"

	"github.com/atelier-go/atelier/cuda/internal/cublas"
	"github.com/atelier-go/atelier/cuda/internal/cudnn"
	"github.com/atelier-go/atelier/cuda/internal/driver"
	"github.com/atelier-go/atelier/cuda/internal/library"
)

// Survey is what a computer has for this package.
type Survey struct {
	Driver    string // "CUDA 12.4 (libcuda.so.1)"; "" if there is none to talk to
	Err       error  // why there is no driver or no card; nil if there are Cards
	Cards     []Card
	Libraries []Library // the optional ones, found or not
}

// Card is a card as the driver describes it.
type Card struct {
	Name       string // "NVIDIA GeForce RTX 3060"
	Capability string // "8.6"
	Memory     int64  // bytes
	Free       int64  // bytes, while this package has the card in use but nothing on it
	Err        error  // why it cannot be used; nil if it can
}

// Library is an optional library of NVIDIA's, with which products or convolutions in half precision may be computed.
type Library struct {
	Name    string // "cuBLASLt"
	Version string
	Path    string
	Err     error // why it is not used: where was searched, what was there, what went wrong with it, and what to do

	use func(s driver.Stream) error // takes it into use on a card, and gives it back
}

// Missing reports whether there is no file of the library's in any place.
func (l Library) Missing() bool { return l.Err != nil && nowhere(l.Err) }

// Look surveys the computer. It opens the libraries that it finds, which may take a second, and leaves them open.
func Look() Survey { return look(library.Here()) }

// look is Look for a machine that may be made up.
func look(c library.Computer) Survey {
	d, err := driver.Open(c)
	if err != nil {
		return Survey{Err: absent(err), Libraries: optional(c, newestCUDA)}
	}
	return examine(d, c)
}

// newestCUDA stands for the driver's where there is none, to find every library there is.
const newestCUDA = 1 << 10

func examine(d *driver.Driver, c library.Computer) Survey {
	s := Survey{Driver: fmt.Sprintf("CUDA %v (%s)", d.Version(), d.Path()), Libraries: optional(c, d.Version().Major())}
	cards, err := d.Cards()
	if err != nil {
		s.Err = err
		return s
	}
	for _, card := range cards {
		seen := Card{Name: card.Name, Capability: fmt.Sprintf("%d.%d", card.Capability/10, card.Capability%10), Memory: card.Memory}
		if seen.Err = capable(card); seen.Err == nil {
			seen.Free, seen.Err = free(d, card, s.Libraries)
		}
		s.Cards = append(s.Cards, seen)
	}
	return s
}

// free is how many bytes a card has free. Libraries that it cannot be used with learn so.
func free(d *driver.Driver, card driver.Card, libraries []Library) (bytes int64, err error) {
	context, err := d.Context(card)
	if err != nil {
		return 0, err
	}
	err = context.Do(func() error {
		if bytes, _, err = context.Memory(); err != nil {
			return err
		}
		s, err := context.Stream()
		if err != nil {
			return err
		}
		for i := range libraries {
			if l := &libraries[i]; l.Err == nil {
				l.Err = l.use(s)
			}
		}
		return s.Destroy()
	})
	return bytes, errors.Join(err, context.Close())
}

// optional looks for the optional libraries that a driver of the given CUDA version can work with.
func optional(c library.Computer, cuda int) []Library {
	products, convolutions := Library{Name: library.CuBLAS.Name}, Library{Name: library.CuDNN.Name}
	if lib, err := cublas.Open(c, cuda); err != nil {
		products.Err = err
	} else {
		products.Path, products.Version = lib.Path(), fmt.Sprint(lib.Version())
		products.use = func(driver.Stream) error { return handled(lib.Handle()) }
	}
	if lib, err := cudnn.Open(c, cuda); err != nil {
		convolutions.Err = err
	} else {
		convolutions.Path, convolutions.Version = lib.Path(), lib.Version()
		convolutions.use = func(s driver.Stream) error { return handled(lib.Handle(s)) }
	}
	if !useLibraries() {
		for _, l := range []*Library{&products, &convolutions} {
			if l.Err == nil {
				l.Err = fmt.Errorf("%s is 0", LibrariesVariable)
			}
		}
	}
	return []Library{products, convolutions}
}

// handled gives a library back that was taken into use.
func handled(h interface{ Close() error }, err error) error {
	if err != nil {
		return err
	}
	return h.Close()
}
