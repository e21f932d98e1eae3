package cuda

import "github.com/atelier-go/atelier/cuda/internal/driver"

// ErrNoDevice is wrapped by the error of [Open] where there is no driver, or it has no card to offer.
var ErrNoDevice = driver.ErrNoDevice

// ErrOutOfMemory is what every *OutOfMemoryError is.
var ErrOutOfMemory = driver.ErrOutOfMemory

// ErrContextLost is wrapped by errors after which the card is of no use to this process any more: close the device. Others, such as
// the CPU's, go on.
var ErrContextLost = driver.ErrContextLost

// OutOfMemoryError says how much of the card's memory was wanted and how much there was, in bytes. Compiling a program fails with it
// before anything is loaded.
type OutOfMemoryError = driver.OutOfMemoryError
