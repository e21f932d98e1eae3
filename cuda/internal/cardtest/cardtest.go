// Package cardtest has a simulated card in use, for tests of libraries that compute on one.
package cardtest

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/atelier-go/atelier/cuda/internal/driver"
	"github.com/atelier-go/atelier/cuda/internal/simdriver"
	"github.com/atelier-go/atelier/internal/f16"
)

// Card is a context on a machine's card, with a stream.
type Card struct {
	TB      testing.TB
	Context *driver.Context
	Stream  driver.Stream
}

// Within runs f where the driver may be called, and asks for everything back.
func Within(t testing.TB, m *simdriver.Machine, f func(c Card)) {
	t.Helper()
	d, err := driver.New(m.Library())
	Check(t, err)
	cards, err := d.Cards()
	Check(t, err)
	context, err := d.Context(cards[0])
	Check(t, err)
	Check(t, context.Do(func() error {
		stream, err := context.Stream()
		Check(t, err)
		f(Card{t, context, stream})
		return stream.Destroy()
	}))
	Check(t, context.Close())
	if leaks, faults := m.Leaks(), m.Faults(); len(leaks)+len(faults) > 0 {
		t.Errorf("not given back: %q; faults %v", leaks, faults)
	}
}

// Check ends a test at an error.
func Check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Upload puts data on the card.
func (c Card) Upload(data []byte) driver.Address {
	at, err := c.Context.Alloc(int64(len(data)))
	Check(c.TB, err)
	Check(c.TB, c.Stream.Upload(at, data))
	return at
}

// Halves are random, and where they are on the card.
func (c Card) Halves(n int) ([]float64, driver.Address) {
	var data []byte
	x := make([]float64, n)
	for i := range x {
		h := f16.FromF32(rand.Float32() - 0.5)
		data, x[i] = binary.LittleEndian.AppendUint16(data, h), float64(f16.ToF32(h))
	}
	return x, c.Upload(data)
}

// ReadHalves are so many on the card.
func (c Card) ReadHalves(at driver.Address, n int) []float64 {
	data, x := make([]byte, 2*n), make([]float64, n)
	Check(c.TB, c.Stream.Download(data, at))
	for i := range x {
		x[i] = float64(f16.ToF32(binary.LittleEndian.Uint16(data[2*i:])))
	}
	return x
}
