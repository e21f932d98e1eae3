package library

import (
	"os"
	"runtime"
	"testing"
)

// TestCall calls a library that the system has.
func TestCall(t *testing.T) {
	name, function := "libc.so.6", "getpid"
	switch runtime.GOOS {
	case "windows":
		name, function = "kernel32.dll", "GetCurrentProcessId"
	case "linux":
	default:
		t.Skip("NVIDIA has no libraries for this system")
	}
	symbols, err := Here().Open(name)
	if err != nil {
		t.Fatal(err)
	}
	f := Resolve(symbols, []string{"atelier_has_no_such_function", function})
	if f[0] != 0 || f[1] == 0 {
		t.Fatalf("addresses %#x", f)
	}
	if id := f.Call(1); int(id) != os.Getpid() {
		t.Errorf("the process is %d, the library says %d", os.Getpid(), id)
	}
	arguments := make([]uintptr, 11)
	if n := testing.AllocsPerRun(100, func() { f.Call(1, arguments...) }); n > 0 {
		t.Errorf("a call allocates %g times", n)
	}
}
