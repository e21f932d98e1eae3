package program

import (
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/windows"
)

var (
	kernel32     = windows.NewLazySystemDLL("kernel32.dll")
	freeConsole  = kernel32.NewProc("FreeConsole")
	allocConsole = kernel32.NewProc("AllocConsole")
)

// console gives the tests and the programs they start a console of their own, because Ctrl-C reaches every process of a
// console: here only these, not the shell from which the tests were started. The tests themselves ignore it.
var console = sync.OnceValue(func() error {
	freeConsole.Call() // fails where there is none
	if ok, _, err := allocConsole.Call(); ok == 0 {
		return os.NewSyscallError("AllocConsole", err)
	}
	signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	return nil
})

func interrupt(*os.Process) error {
	return os.NewSyscallError("GenerateConsoleCtrlEvent", windows.GenerateConsoleCtrlEvent(windows.CTRL_C_EVENT, 0))
}
