package hub

import "golang.org/x/sys/windows"

// unreachable are the errors of connections to where nobody listens.
var unreachable = []error{windows.WSAECONNREFUSED, windows.WSAENETUNREACH, windows.WSAEHOSTUNREACH}
