package library

import (
	"sync"
	"time"
)

// rescans bounds how much time goes into looking through folders because of names that are not known: strangers send such names, as often as
// they like.
type rescans struct {
	mu    sync.Mutex
	owed  time.Time // until when no more should be looked, had each look been paid for
	last  time.Time // when the last look began
	count int       // of looks
}

const (
	rescanShare = 20              // a look is paid for by so many times as long without one
	rescanWait  = 5 * time.Second // for which looks may be owed, and the longest wait for the next
)

// lookAgain is Refresh for a name that is not known, unless too much time went into that of late. Those who ask at the same time share a look.
func (l *Library) lookAgain() error {
	asked := time.Now()
	r := &l.rescans
	r.mu.Lock()
	defer r.mu.Unlock()
	began := time.Now()
	shared := r.last.After(asked)
	if shared || r.owed.Sub(began) > rescanWait {
		return nil
	}
	r.last = began
	err := l.Refresh()
	now := time.Now()
	if r.owed.Before(began) {
		r.owed = began
	}
	r.owed = r.owed.Add(rescanShare * now.Sub(began))
	if latest := now.Add(2 * rescanWait); r.owed.After(latest) {
		r.owed = latest
	}
	r.count++
	return err
}
