package compute

import (
	"bytes"
	"io"
)

// ParamSource hands a device the parameters a program names. weights.Checkpoint is one; a merged
// adapter is another that wraps it.
type ParamSource interface {
	// ParamType is the stored type of the named parameter, known without touching its bytes.
	// The element type is F32, F16 or BF16. An unknown name is an error that names it.
	ParamType(name string) (Type, error)
	// ParamData is the parameter in its stored type, row-major, little-endian. The bytes are read-only. Each call may read
	// or compute them anew, so that nobody holds them who has packed its own copy.
	ParamData(name string) ([]byte, error)
}

// ParamOpener is optionally implemented by a ParamSource that can read a part of a parameter, such as a row of a table,
// without the rest.
type ParamOpener interface {
	// OpenParam reads the bytes of ParamData where they lie, for several goroutines and until the source is closed. It is
	// nil for a parameter that is only to be had in whole.
	OpenParam(name string) io.ReaderAt
}

// OpenParam reads parts of a parameter as cheaply as the source can: where it lies, else from memory.
func OpenParam(source ParamSource, name string) (io.ReaderAt, error) {
	if o, ok := source.(ParamOpener); ok {
		if r := o.OpenParam(name); r != nil {
			return r, nil
		}
	}
	data, err := source.ParamData(name)
	return bytes.NewReader(data), err
}
