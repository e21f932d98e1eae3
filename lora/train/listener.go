package train

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// listener tells of a training: its log, and the loop over [Run] until that is left.
type listener struct {
	yield func(Event) bool
	stop  context.CancelCauseFunc
	left  bool // the loop was left, or panics
	log   *log
}

// errLeft is why a training stops whose loop was left.
var errLeft = errors.New("lora: the loop over the training was left")

// report tells of an event. When the loop is left the training's context is done.
func (l *listener) report(e Event) {
	if err := l.log.write(time.Now(), e); err != nil {
		l.log.failed = true
		l.warn("Config.Logging.Dir: %v; the log ends here, the training does not", err)
	}
	if l.left {
		return
	}
	l.left = true
	if l.left = !l.yield(e); l.left {
		l.stop(errLeft)
	}
}

func (l *listener) warn(format string, args ...any) {
	l.report(Warning{fmt.Sprintf(format, args...)})
}

// closeLog closes the log, of which a failure is no reason to end a training otherwise.
func (l *listener) closeLog() {
	last := l.log
	l.log = nil
	if err := last.close(); err != nil && !last.failed {
		l.warn("Config.Logging.Dir: %v; the log may not be whole, what was trained is", err)
	}
}
