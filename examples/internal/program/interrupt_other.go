//go:build !windows

package program

import "os"

func console() error { return nil }

func interrupt(p *os.Process) error { return p.Signal(os.Interrupt) }
