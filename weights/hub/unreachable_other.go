//go:build !windows

package hub

import "syscall"

// unreachable are the errors of connections to where nobody listens.
var unreachable = []error{syscall.ECONNREFUSED, syscall.ENETUNREACH, syscall.EHOSTUNREACH}
