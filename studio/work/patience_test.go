package work

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atelier-go/atelier/studio/jobs"
)

// TestPatiently waits for a server that does not answer for as long as there is somebody to wait, and for one that refuses for a while.
func TestPatiently(t *testing.T) {
	away := fmt.Errorf("storing: %w", jobs.ErrUnreachable)
	for name, c := range map[string]struct {
		err    error
		lasts  time.Duration // of the error
		ends   time.Duration // when the context does; 0 is never
		fails  bool
		within time.Duration // after which it is over
	}{
		"away for an hour":       {away, time.Hour, 0, false, time.Hour + longestPause},
		"full":                   {jobs.ErrFull, time.Hour, 0, true, 30 * time.Second},
		"full for a moment":      {jobs.ErrFull, time.Second, 0, false, 5 * time.Second},
		"lost":                   {jobs.ErrLost, time.Hour, 0, true, 0},
		"away, and told to end":  {away, time.Hour, time.Minute, true, time.Minute + grace},
		"away, but for a moment": {away, 2 * time.Minute, time.Minute, false, 2*time.Minute + longestPause},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				storing := late(ctx)
				if c.ends > 0 {
					time.AfterFunc(c.ends, cancel)
				}
				began := time.Now()
				err := patiently(storing, func() error {
					if time.Since(began) < c.lasts {
						return c.err
					}
					return nil
				})
				if took := time.Since(began); (err != nil) != c.fails || took > c.within || err != nil && !errors.Is(err, c.err) {
					t.Errorf("after %v: %v", took, err)
				}
			})
		})
	}
}
