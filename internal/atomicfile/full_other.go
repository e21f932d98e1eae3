//go:build !unix && !windows

package atomicfile

// IsDiskFull cannot tell on this platform.
func IsDiskFull(error) bool { return false }
