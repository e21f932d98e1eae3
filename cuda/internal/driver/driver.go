package driver

import (
	"fmt"
	"unsafe"

	"github.com/atelier-go/atelier/cuda/internal/library"
)

// Driver is the driver's library, opened and initialised.
type Driver struct {
	functions library.Functions
	version   Version
	path      string
}

// Version is a version of CUDA: 12040 is 12.4.
type Version int32

// Major is 12 of 12.4.
func (v Version) Major() int { return int(v) / 1000 }

// String is "12.4".
func (v Version) String() string { return fmt.Sprintf("%d.%d", v/1000, v%1000/10) }

// Open opens the computer's driver. Without one the error is a *library.NotFoundError, without a card it is [ErrNoDevice].
func Open(c library.Computer) (*Driver, error) {
	lib, err := c.OpenDriver()
	if err != nil {
		return nil, err
	}
	return New(lib)
}

// New initialises the driver whose library is open already.
func New(lib *library.Library) (*Driver, error) {
	d := &Driver{functions: library.Resolve(lib, names[:]), path: lib.Path}
	if err := d.call(cuDriverGetVersion, uintptr(unsafe.Pointer(&d.version))); err != nil {
		return nil, err
	}
	for f, address := range d.functions {
		if address == 0 {
			return nil, &UnsupportedError{names[f], d.version}
		}
	}
	if err := d.call(cuInit, 0); err != nil {
		return nil, err
	}
	return d, nil
}

// Version is the newest CUDA that the driver knows.
func (d *Driver) Version() Version { return d.version }

// Path is the library's, or its bare name where the system found it.
func (d *Driver) Path() string { return d.path }

// Card is what the driver tells of a card.
type Card struct {
	Ordinal    int
	Name       string // "NVIDIA GeForce RTX 3060"
	UUID       [16]byte
	Capability int   // compute capability, 86 for 8.6
	Memory     int64 // bytes

	Multiprocessors int
	Threads         int // most threads of a block
	Shared          int // bytes of shared memory that a block can have when it asks for more than 48 KB
	SharedPerSM     int // bytes of shared memory of a multiprocessor
	L2              int // bytes
	Clock           int // kHz
	MemoryClock     int // kHz, of memory that moves data twice a clock
	BusWidth        int // bits, of memory
	Watchdog        bool
}

// String is "NVIDIA GeForce RTX 3060 (compute capability 8.6, 12.0 GB)".
func (c Card) String() string {
	return fmt.Sprintf("%s (compute capability %d.%d, %.1f GB)", c.Name, c.Capability/10, c.Capability%10, float64(c.Memory)/1e9)
}

// Cards lists the cards. If there are none, the error is [ErrNoDevice].
func (d *Driver) Cards() ([]Card, error) {
	var count int32
	if err := d.call(cuDeviceGetCount, uintptr(unsafe.Pointer(&count))); err != nil {
		return nil, err
	}
	if count == 0 {
		return nil, fmt.Errorf("cuda: the driver for CUDA %v is here: %w", d.version, ErrNoDevice)
	}
	cards := make([]Card, count)
	for i := range cards {
		card, err := d.card(i)
		if err != nil {
			return nil, err
		}
		cards[i] = card
	}
	return cards, nil
}

// attributes are the driver's numbers for what a Card has.
func (c *Card) attributes(major, minor, watchdog *int) map[int]*int {
	return map[int]*int{
		1: &c.Threads, 13: &c.Clock, 16: &c.Multiprocessors, 17: watchdog, 36: &c.MemoryClock, 37: &c.BusWidth, 38: &c.L2, 75: major, 76: minor, 81: &c.SharedPerSM, 97: &c.Shared,
	}
}

func (d *Driver) card(ordinal int) (Card, error) {
	device, err := d.device(ordinal)
	if err != nil {
		return Card{}, err
	}
	c := Card{Ordinal: ordinal}
	var name [256]byte
	if err := d.call(cuDeviceGetName, uintptr(unsafe.Pointer(&name)), uintptr(len(name)), device); err != nil {
		return Card{}, err
	}
	c.Name = goString(&name[0])
	if err := d.call(cuDeviceGetUUID, uintptr(unsafe.Pointer(&c.UUID)), device); err != nil {
		return Card{}, err
	}
	if err := d.call(cuDeviceTotalMem, uintptr(unsafe.Pointer(&c.Memory)), device); err != nil {
		return Card{}, err
	}
	var major, minor, watchdog int
	for attribute, value := range c.attributes(&major, &minor, &watchdog) {
		var v int32
		if err := d.call(cuDeviceGetAttribute, uintptr(unsafe.Pointer(&v)), uintptr(attribute), device); err != nil {
			return Card{}, err
		}
		*value = int(v)
	}
	c.Capability, c.Watchdog = 10*major+minor, watchdog != 0
	return c, nil
}

// device is the driver's handle of a card.
func (d *Driver) device(ordinal int) (uintptr, error) {
	var device int32
	err := d.call(cuDeviceGet, uintptr(unsafe.Pointer(&device)), uintptr(ordinal))
	return uintptr(device), err
}
