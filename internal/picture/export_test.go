package picture

// Need is how many bytes decoding is said to take.
func Need(f *File) int64 { return f.layout.memory }
