//go:build !unix

package openfile

// nonblock is not needed where files are all that paths name.
const nonblock = 0
