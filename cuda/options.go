package cuda

import (
	"errors"
	"log/slog"
	"os"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/driver"
	"github.com/atelier-go/atelier/invalid"
)

// Options configures a device. The zero value is the first card in float32.
type Options struct {
	Card      int               // which card, from 0, in the driver's order
	Precision compute.Precision // FP32, or FP16; BF16 computes in half precision too
	Memory    int64             // how many bytes of the card's memory the device may take; 0 is all that is free
	Promoted  bool              // in half precision, sums of up to 64 products are kept in half precision too, and then added to float32 sums: GeForce cards do that twice as fast, and results are less exact
	Logger    *slog.Logger      // told what is done without; nil means slog.Default()

	// Cache is the folder for what is learned of the card: which way to compute an op is the fastest, and kernels as the driver assembles them.
	// "" is atelier/cuda in the user's cache folder.
	Cache    string
	NoCache  bool // nothing is kept: all is learned anew in each process
	NoTuning bool // how ops are computed is chosen by a model, and not by timing the ways when an op is first met
}

// SynchronousVariable names the environment variable that, if it is not empty, has a device wait after every launch, so that an error
// names the op whose kernel failed. It is slow.
const SynchronousVariable = "ATELIER_CUDA_SYNC"

// check joins the errors of all fields.
func (o Options) check(cards []driver.Card) error {
	var errs []error
	if o.Card < 0 || o.Card >= len(cards) {
		errs = append(errs, invalid.Field("Options.Card", o.Card, "0 to %d, the cards that the driver lists", len(cards)-1))
	}
	if !o.Precision.Valid() {
		errs = append(errs, invalid.Field("Options.Precision", o.Precision, "fp32, bf16 or fp16"))
	}
	if o.Memory < 0 {
		errs = append(errs, invalid.Field("Options.Memory", o.Memory, "0 (all that is free) or more bytes"))
	}
	return errors.Join(errs...)
}

// LibrariesVariable names the environment variable that, set to 0, leaves out cuBLASLt and cuDNN where they are found.
const LibrariesVariable = "ATELIER_CUDA_LIBRARIES"

func useLibraries() bool { return os.Getenv(LibrariesVariable) != "0" }
