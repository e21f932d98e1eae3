package compute

// ParamSource hands a device the parameters a program names. weights.Checkpoint is one; a merged
// adapter is another that wraps it.
type ParamSource interface {
	// ParamType is the stored type of the named parameter, known without touching its bytes.
	// The element type is F32, F16 or BF16. An unknown name is an error that names it.
	ParamType(name string) (Type, error)
	// ParamData is the parameter in its stored type, row-major, little-endian. The bytes are read-only,
	// may be memory-mapped at any alignment and stay valid until the source is closed.
	ParamData(name string) ([]byte, error)
}

// ParamReleaser is optionally implemented by a ParamSource whose bytes occupy memory that can be given
// back (mapped pages). A device calls ReleaseParam once it has packed its own copy; the bytes remain
// readable and are fetched again on demand.
type ParamReleaser interface {
	ReleaseParam(name string)
}
