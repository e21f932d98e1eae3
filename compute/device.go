package compute

import "context"

// Device runs programs: compute/ref is the oracle, cpu and cuda are fast. A device and what it hands out are safe for
// use by several goroutines; runs are serialised.
type Device interface {
	// Name identifies the device in logs and reports: "cpu (avx512, 2 workers)".
	Name() string
	// NewTensor allocates a tensor for a program's inputs or outputs, filled with zeros.
	NewTensor(t DType, shape ...int) (Tensor, error)
	// Load prepares parameters for use by programs. Nothing is read or packed before Compile needs it, and what is
	// packed is shared by all programs compiled against the same Params. The source must stay open until they are closed.
	Load(ParamSource) (Params, error)
	// Compile chooses kernels, packs the program's parameters and lays out its arena. A parameter that is missing,
	// of another shape than recorded or not finite is an error that names it; an op the device lacks is an error that
	// wraps ErrUnsupported and names its path.
	Compile(*Program, Params) (Executable, error)
	// Close releases the device. Everything it handed out must be closed before.
	Close() error
}

// Params is a set of parameters loaded on a device.
type Params interface {
	// Memory is what the parameters packed so far occupy on the device, in bytes.
	Memory() int64
	// Close gives the memory back. No executable compiled against the parameters may be in use.
	Close() error
}

// Reloader is optionally implemented by Params whose values can be replaced where they are.
type Reloader interface {
	// Reload gives the named parameters the values, of the types they have, that source has for them; all others are the same in it. Programs
	// compiled against the parameters go on with the new values; none may run meanwhile. After an error the values are undefined, and
	// there is only Close.
	Reload(source ParamSource, names []string) error
}

// Executable is a program compiled for a device.
type Executable interface {
	// Run uploads nothing and downloads nothing: it reads in, in the order of Program.Inputs, and writes out, in the
	// order of Program.Outputs; their types must be the program's. A tensor may be in both: what it holds is read before
	// anything is written to it. It stops between two ops when ctx is done and returns context.Cause(ctx), leaving out
	// undefined but for tensors that are in both, which then still hold what they did.
	Run(ctx context.Context, out, in []Tensor) error
	// Memory is what running needs on top of the parameters.
	Memory() MemoryReport
	// Close gives the memory back.
	Close() error
}

// Tensor is an input or output of programs, in device memory; intermediates never are tensors.
type Tensor interface {
	// Shape is the tensor's shape, not to be modified.
	Shape() Shape
	// DType is the element type.
	DType() DType
	// Upload copies host memory to the tensor, whose elements it must fit ([Buffer.Fit]).
	Upload(src Buffer) error
	// Download copies the tensor to host memory, the reverse of Upload.
	Download(dst Buffer) error
	// Close gives the memory back.
	Close() error
}

// MemoryReport counts bytes of device memory.
type MemoryReport struct {
	Params int64 // packed parameters
	Arena  int64 // inputs, intermediates, outputs and per-op scratch of the largest program
	Worker int64 // scratch that is not part of the arena
}

// Total is the sum of all parts.
func (m MemoryReport) Total() int64 { return m.Params + m.Arena + m.Worker }

// Estimator is implemented by devices that can tell, from types and shapes alone, what they will hold once the given
// programs are compiled against one parameter source: parameters counted once, and the largest arena, since runs are
// serialised and share it. No parameter is read.
type Estimator interface {
	Estimate(src ParamSource, programs ...*Program) (MemoryReport, error)
}

// Peaker is implemented by devices that can measure what they can do at most.
type Peaker interface {
	// Peak is the greatest rate of float32 multiply-adds, in floating-point operations per second; 0 where it cannot be told.
	Peak() float64
}

// Preciser is implemented by devices that can be asked for several precisions and may lack some.
type Preciser interface {
	// Precision is what matrix products are really computed in, whatever was asked for.
	Precision() Precision
}

// Exacter is implemented by devices that may compute in less than float32, for what comes out as no number of that.
type Exacter interface {
	// Exact is the same hardware computing in float32. The caller closes it.
	Exact() (Device, error)
}

// Profiler is implemented by executables that can time their ops. While a function is set, each run calls it
// after every node with the node's index and the seconds it took.
type Profiler interface {
	Profile(func(node int, seconds float64))
}
