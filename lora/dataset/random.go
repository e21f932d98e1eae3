package dataset

import (
	"encoding/binary"
	"math/rand/v2"
)

// purpose keeps the random streams of one seed apart.
type purpose uint64

const (
	orderStream purpose = iota + 1
	itemStream
	splitStream
	validationStream
)

// stream is the random numbers for one purpose at one place of one epoch.
func stream(seed uint64, p purpose, epoch, place int) *rand.Rand {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[0:], seed)
	binary.LittleEndian.PutUint64(key[8:], uint64(p))
	binary.LittleEndian.PutUint64(key[16:], uint64(epoch))
	binary.LittleEndian.PutUint64(key[24:], uint64(place))
	return rand.New(rand.NewChaCha8(key))
}
