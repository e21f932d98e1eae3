package jobs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrUnreachable says that the queue's server does not answer: it begins anew, or the network is gone. Whether what was asked for is done
// is not known; it can be asked for again.
var ErrUnreachable = errors.New("the queue's server does not answer")

// ErrFull says that the queue's server has no room left.
var ErrFull = errors.New("the queue has no room left: its disk is full. Remove jobs, or make room on the disk")

// silent are the errors of a server that does not answer.
var silent = []error{
	nats.ErrTimeout, nats.ErrNoResponders, nats.ErrDisconnected, nats.ErrConnectionReconnecting, nats.ErrStaleConnection, nats.ErrReconnectBufExceeded,
	jetstream.ErrNoStreamResponse, jetstream.ErrJetStreamNotEnabled, jetstream.ErrAsyncPublishTimeout, jetstream.ErrTooManyStalledMsgs, context.DeadlineExceeded,
	os.ErrDeadlineExceeded, context.Canceled,
}

// The server's codes for what it cannot do.
const (
	noResources = 10023 // insufficient resources
	noStorage   = 10047 // insufficient storage resources available
	notStored   = 10077 // what its file system, or its own bounds, say
	notNow      = 10008 // temporarily unavailable
)

// told is an error of the server as callers can react to it; the caller's own end stays what it is. As long as it does not answer, nobody is
// taken to be gone.
func (q *Queue) told(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	var code jetstream.ErrorCode
	api, ok := errors.AsType[*jetstream.APIError](err)
	if ok {
		code = api.ErrorCode
	}
	switch {
	case q.broken.Load():
		return fmt.Errorf("%w (%w)", ErrFull, err)
	case code == noResources, code == noStorage, code == notStored && !strings.Contains(api.Description, "closed"):
		return fmt.Errorf("%w (%w)", ErrFull, err)
	case code == notNow, code == notStored, slices.ContainsFunc(silent, func(one error) bool { return errors.Is(err, one) }):
		q.mirror.lost()
		return fmt.Errorf("%w (%w)", ErrUnreachable, err)
	}
	return err
}

// connected is a context that ends when the connection does: what was asked by then is never answered.
func (q *Queue) connected(ctx context.Context) (context.Context, context.CancelFunc) {
	asking, end := context.WithCancel(ctx)
	forget := context.AfterFunc(*q.session.Load(), end)
	return asking, func() { forget(); end() }
}

// session is the context of a connection.
type session struct {
	atomic.Pointer[context.Context]
	end context.CancelFunc
}

// begin begins one, and ends the one before.
func (s *session) begin() {
	if s.end != nil {
		s.end()
	}
	ctx, end := context.WithCancel(context.Background())
	s.end = end
	s.Store(&ctx)
}

// diary is what the server within the process says: of what it could not store it does not answer who asked.
type diary struct{ queue *Queue }

// Errorf implements server.Logger.
func (d diary) Errorf(format string, v ...any) {
	q, text := d.queue, fmt.Sprintf(format, v...)
	q.options.Logger.Error("the queue's server: " + text)
	if strings.Contains(text, "failed to store") && q.broken.CompareAndSwap(false, true) {
		q.watched.Go(q.heal)
	}
}

// Warnf implements server.Logger.
func (d diary) Warnf(format string, v ...any) {
	d.queue.options.Logger.Debug("the queue's server: " + fmt.Sprintf(format, v...))
}

// Fatalf implements server.Logger.
func (d diary) Fatalf(format string, v ...any) { d.Errorf(format, v...) }

// Noticef, Debugf and Tracef implement server.Logger.
func (diary) Noticef(string, ...any) {}
func (diary) Debugf(string, ...any)  {}
func (diary) Tracef(string, ...any)  {}

// heal waits until the disk of the server within the process has room again, and then has it read its folder anew: after something could not
// be stored, it stores nothing.
func (q *Queue) heal() {
	probe := filepath.Join(q.options.Dir, "room")
	for {
		select {
		case <-q.closing.Done():
			return
		case <-time.After(time.Second):
		}
		err := os.WriteFile(probe, make([]byte, roomToHeal), 0o666)
		if err = errors.Join(err, os.Remove(probe)); err != nil {
			continue
		}
		err = q.server.ShutdownJetStream()
		if err == nil {
			err = q.server.EnableJetStream(&server.JetStreamConfig{StoreDir: q.options.Dir, SyncInterval: syncEvery})
		}
		if err == nil {
			q.broken.Store(false)
			q.reconnected(nil)
			q.options.Logger.Info("the queue has room again")
			return
		}
		q.options.Logger.Warn("the queue cannot go on yet", "error", err)
	}
}

// roomToHeal is how many bytes there must be room for.
const roomToHeal = 4 << 20
