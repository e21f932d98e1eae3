//go:build !unix

package filelock

// unsupported has nothing to add: the library itself says so.
func unsupported(err error) error { return err }
