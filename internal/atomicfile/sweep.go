package atomicfile

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"
)

// Temporary names are ".NAME.atelier-" and twelve digits, and ".tmp" behind them for those that sweep may remove; names may
// have 255 bytes.
const (
	mark    = "atelier-"
	held    = ".tmp"
	maxBase = 255 - len(".") - len("."+mark) - 12 - len(held)
)

var temporary = regexp.MustCompile(`^\..*\.` + mark + `[0-9a-f]{12}\` + held + `$`)

func random() string {
	var b [6]byte
	rand.Read(b[:])
	return mark + hex.EncodeToString(b[:])
}

// A temporary file without a holder is young while its writer is about to take or has just given up its hold on it. A
// folder is not looked through again for a while, because it may have many files that are all written by this program.
const (
	young      = 2 * time.Second
	sweepPause = 10 * time.Second
)

var (
	sweepMutex sync.Mutex
	lastSweep  = make(map[string]time.Time)
)

// sweep removes the temporary files and folders that programs left behind which have ended. Whatever is in its way is the
// business of a later one.
func sweep(dir string) {
	sweepMutex.Lock()
	recent := time.Since(lastSweep[dir]) < sweepPause
	if !recent {
		lastSweep[dir] = time.Now()
	}
	sweepMutex.Unlock()
	if recent {
		return
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if !temporary.MatchString(e.Name()) {
			continue
		}
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < young {
			continue
		}
		if path, ok := claim(filepath.Join(dir, e.Name())); ok {
			os.RemoveAll(path)
		}
	}
}
