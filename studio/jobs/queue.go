package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/atelier-go/atelier/internal/filelock"
)

// Options say where a queue is.
type Options struct {
	Dir string // a folder of the queue's own, in which the process keeps it; other processes are refused meanwhile
	URL string // of a NATS server with JetStream, which keeps it instead of Dir; with password or token, if it wants one
	// Heartbeat is how often a worker renews the record of its job; 0 is two seconds. After five without a sign a worker is
	// taken to be gone. All workers of a queue should have the same.
	Heartbeat time.Duration
	Logger    *slog.Logger // is told what happens to jobs; nil is silent
}

// Queue is an open queue. Its methods may be called from several goroutines.
type Queue struct {
	options Options
	lock    *filelock.Lock // of the folder
	server  *server.Server // nil if it is elsewhere
	conn    *nats.Conn
	records jetstream.KeyValue
	files   jetstream.ObjectStore
	stream  jetstream.Stream // that the files are in
	mirror  mirror
	renewed chan struct{} // holds one: the connection was lost, and is there again
	stop    context.CancelFunc
	closing context.Context // is done at the end
	watched sync.WaitGroup
	session session
	broken  atomic.Bool // the server within the process has found its disk full
}

// The names of what the server keeps.
const (
	recordBucket = "atelier-jobs"
	fileBucket   = "atelier-files"
	previewTopic = "atelier.preview."
)

// Open opens a queue, and makes it if there is none. Jobs that ran in the folder when the process before ended are pending again.
func Open(ctx context.Context, o Options) (_ *Queue, err error) {
	if (o.Dir == "") == (o.URL == "") {
		return nil, errors.New("jobs: a queue is in a folder or at the URL of a server: one of both")
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = 2 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	q := &Queue{options: o, renewed: make(chan struct{}, 1)}
	q.mirror.init()
	q.session.begin()
	q.closing, q.stop = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = fmt.Errorf("jobs: %w", errors.Join(err, q.Close()))
		}
	}()
	if err := q.connect(ctx); err != nil {
		return nil, err
	}
	if err := q.buckets(ctx); err != nil {
		return nil, err
	}
	if err := q.watch(ctx); err != nil {
		return nil, err
	}
	if q.server != nil {
		if err := errors.Join(q.revive(ctx), q.mend(ctx)); err != nil {
			return nil, err
		}
	}
	return q, nil
}

// Close ends the queue's use; jobs that run are left to workers elsewhere, or to the next Open of the folder. End Work before.
func (q *Queue) Close() error {
	q.stop()
	if q.conn != nil {
		q.conn.Close()
	}
	q.watched.Wait()
	if q.server != nil {
		q.server.Shutdown()
		q.server.WaitForShutdown()
	}
	if q.lock != nil {
		return q.lock.Release()
	}
	return nil
}

// connect reaches the server, or runs one.
func (q *Queue) connect(ctx context.Context) (err error) {
	pause := min(q.options.Heartbeat, time.Second) // so that all are there again before anybody is taken to be gone
	always := []nats.Option{
		nats.Name("atelier"), nats.MaxReconnects(-1), nats.ReconnectWait(pause), nats.ReconnectJitter(pause/10, pause/10), nats.RetryOnFailedConnect(false),
		nats.PingInterval(max(q.options.Heartbeat, time.Second)), nats.MaxPingsOutstanding(2), // so that a dead way is known as such before that too
		nats.ReconnectHandler(q.reconnected), nats.DisconnectErrHandler(q.disconnected),
	}
	if q.options.URL != "" {
		if q.conn, err = nats.Connect(q.options.URL, always...); err != nil {
			return fmt.Errorf("the queue's server %s: %w", redacted(q.options.URL), err)
		}
		return nil
	}
	if err := q.embed(ctx); err != nil {
		return err
	}
	q.conn, err = nats.Connect("", append(always, nats.InProcessServer(q.server))...)
	return err
}

// disconnected ends what was asked, which will not be answered.
func (q *Queue) disconnected(*nats.Conn, error) {
	q.mirror.lost()
	q.session.begin()
}

// reconnected begins to watch anew: what watched before may hear nothing for a while.
func (q *Queue) reconnected(*nats.Conn) {
	q.mirror.lost()
	select {
	case q.renewed <- struct{}{}:
	default:
	}
}

// syncEvery is how much a power cut may cost.
const syncEvery = 10 * time.Second

// embed runs a server within the process that listens on no port.
func (q *Queue) embed(ctx context.Context) error {
	if err := os.MkdirAll(q.options.Dir, 0o777); err != nil {
		return err
	}
	lock, err := filelock.Take(filepath.Join(q.options.Dir, "lock"))
	if err != nil {
		return err
	}
	q.lock = lock
	s, err := server.NewServer(&server.Options{
		ServerName: "atelier", JetStream: true, StoreDir: q.options.Dir, DontListen: true, NoSigs: true, NoLog: true,
		MaxPayload: 8 << 20, SyncInterval: syncEvery,
	})
	if err != nil {
		return err
	}
	s.SetLogger(diary{q}, false, false)
	q.server = s
	s.Start()
	if !s.ReadyForConnections(30 * time.Second) {
		return fmt.Errorf("the queue in %s does not start: is the disk full, or the folder read-only?", q.options.Dir)
	}
	return ctx.Err()
}

// buckets opens what the server keeps, or makes it.
func (q *Queue) buckets(ctx context.Context) error {
	js, err := jetstream.New(q.conn)
	if err != nil {
		return err
	}
	if q.records, err = js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: recordBucket, Description: "what Atelier is to do", History: 1}); err != nil {
		return fmt.Errorf("opening the queue's records: %w", err)
	}
	q.files, err = js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: fileBucket, Description: "photos, LoRAs and pictures of Atelier's jobs"})
	if err != nil {
		return fmt.Errorf("opening the queue's files: %w", err)
	}
	if q.stream, err = js.Stream(ctx, "OBJ_"+fileBucket); err != nil {
		return fmt.Errorf("opening the queue's files: %w", err)
	}
	return nil
}

// watch follows the records and previews from now on. It returns when the records that there are have been read.
func (q *Queue) watch(ctx context.Context) error {
	changes, err := q.records.WatchAll(q.closing)
	if err != nil {
		return err
	}
	if _, err := q.conn.Subscribe(previewTopic+"*", func(m *nats.Msg) { q.mirror.show(m.Subject[len(previewTopic):], m.Data) }); err != nil {
		return err
	}
	all := make(chan struct{})
	q.watched.Go(func() {
		q.followAll(changes, nil, func() { close(all) })
		for q.closing.Err() == nil {
			q.watchAgain(q.closing)
		}
	})
	select {
	case <-all:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// watchAgain watches after the connection was lost, or the server has ended the watching. Jobs that it does not know any more were removed
// meanwhile.
func (q *Queue) watchAgain(ctx context.Context) {
	known := make(map[string]bool)
	for _, id := range q.mirror.ids() {
		known[id] = true
	}
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	late := time.AfterFunc(silence, cancel) // a question that was lost on its way is never answered
	changes, err := q.records.WatchAll(watching)
	if err == nil && late.Stop() {
		q.followAll(changes, known, func() {
			for id := range known {
				q.miss(ctx, id)
			}
		})
		return
	}
	q.mirror.lost()
	select {
	case <-time.After(q.options.Heartbeat):
	case <-ctx.Done():
	}
}

// miss looks for a job that a watch did not tell of, which is gone, or has changed just then.
func (q *Queue) miss(ctx context.Context, id string) {
	asking, stop := q.connected(ctx)
	defer stop()
	entry, err := q.records.Get(asking, id)
	switch {
	case err == nil:
		q.follow(entry)
	case errors.Is(err, jetstream.ErrKeyNotFound):
		q.mirror.forget(id)
	default:
		q.told(ctx, err)
		select {
		case q.renewed <- struct{}{}: // to look for it again
		default:
		}
	}
}

// followAll takes in what a watch tells, strikes that out of what was known before, and calls all when that was all there is so far. It
// returns when the watch ends, or should begin anew.
func (q *Queue) followAll(changes jetstream.KeyWatcher, known map[string]bool, all func()) {
	for {
		select {
		case change, ok := <-changes.Updates():
			switch {
			case !ok:
				return
			case change == nil:
				all()
			default:
				delete(known, change.Key())
				q.follow(change)
			}
		case <-q.renewed:
			changes.Stop() // which fails where it has ended
			go func() {
				for range changes.Updates() { // so that nothing waits to tell more
				}
			}()
			return
		}
	}
}

// follow takes a record's change into the mirror.
func (q *Queue) follow(change jetstream.KeyValueEntry) {
	if change.Operation() != jetstream.KeyValuePut {
		q.mirror.remove(change.Key(), change.Revision())
		return
	}
	var j Job
	if err := json.Unmarshal(change.Value(), &j); err != nil {
		q.options.Logger.Warn("a job's record cannot be read", "id", change.Key(), "error", err)
		return
	}
	q.mirror.put(j, change.Revision())
}

// revive makes the jobs pending that ran in the folder: who did so is gone, because the folder is locked by us.
func (q *Queue) revive(ctx context.Context) error {
	for _, j := range q.Jobs() {
		if j.State != Running {
			continue
		}
		if _, err := q.change(ctx, j.ID, func(j *Job) error { return j.release() }); err != nil {
			return err
		}
	}
	return nil
}

// redacted is a server's address without its password.
func redacted(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "(no URL)"
	}
	return u.Redacted()
}
