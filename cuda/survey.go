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

// Library is an optional library of NVIDIA's. Nothing is computed with them yet.
type Library struct {
	Name    string // "cuBLASLt"
	Version string
	Path    string
	Err     error // why there is none: where was searched, what was there, and what to do
}

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
			seen.Free, seen.Err = free(d, card)
		}
		s.Cards = append(s.Cards, seen)
	}
	return s
}

// free is how many bytes a card has free.
func free(d *driver.Driver, card driver.Card) (bytes int64, err error) {
	context, err := d.Context(card)
	if err != nil {
		return 0, err
	}
	err = context.Do(func() error {
		bytes, _, err = context.Memory()
		return err
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
	}
	if lib, err := cudnn.Open(c, cuda); err != nil {
		convolutions.Err = err
	} else {
		convolutions.Path, convolutions.Version = lib.Path(), lib.Version()
	}
	return []Library{products, convolutions}
}
