package hub

import (
	"context"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/atelier-go/atelier/internal/atomicfile"
	"github.com/atelier-go/atelier/internal/filelock"
	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/weights"
)

const maxIndexBytes = 16 << 20

// download is one snapshot on its way.
type download struct {
	client   *Client
	repo     repo
	commit   string
	progress Progress
	start    time.Time
	fresh    int64 // bytes that came over the network
	reported time.Time
}

// fetch completes a snapshot and returns its path.
func (d *download) fetch(ctx context.Context, info modelInfo) (string, error) {
	d.commit = info.SHA
	sizes := map[string]int64{}
	var names []string
	for _, s := range info.Siblings {
		names = append(names, s.Name)
		sizes[s.Name] = max(s.Size, 0)
	}
	chosen, err := choose(d.repo, names, d.client.Variant)
	if err != nil {
		return "", err
	}
	if err := checkNames(d.repo, chosen.files, checkPortable); err != nil {
		return "", err
	}
	for _, index := range chosen.indices { // first: they name further files
		if err := d.file(ctx, index); err != nil {
			return "", err
		}
		shards, err := d.shards(index)
		if err == nil {
			err = checkNames(d.repo, shards, checkPortable)
		}
		if err != nil {
			return "", err
		}
		chosen.files = append(chosen.files, shards...)
	}
	d.progress.Done = 0
	for _, name := range chosen.files {
		d.progress.Total += sizes[name]
	}
	for _, name := range chosen.files {
		if err := d.file(ctx, name); err != nil {
			return "", err
		}
	}
	if err := os.Remove(d.unfinished()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("hub: %w", err)
	}
	if err := d.client.writeRef(d.repo, info.SHA); err != nil {
		return "", err
	}
	d.report(true)
	return filepath.Join(d.client.snapshotDir(d.repo, info.SHA), chosen.single), nil
}

// shards reads which files an index names.
func (d *download) shards(index string) ([]string, error) {
	text, err := openfile.ReadFile(d.local(index), maxIndexBytes)
	if err != nil {
		return nil, fmt.Errorf("hub: %s: %w", d.repo.id, err)
	}
	shardOf, err := weights.ParseIndex(text)
	if err != nil {
		return nil, fmt.Errorf("hub: %s: %s: %w", d.repo.id, index, err)
	}
	var shards []string
	for _, shard := range shardOf {
		shards = append(shards, path.Join(path.Dir(index), shard))
	}
	slices.Sort(shards)
	return slices.Compact(shards), nil
}

// unfinished is a file that is there from the snapshot's first missing file to its last.
func (d *download) unfinished() string { return d.client.unfinished(d.repo, d.commit) }

// local is where a file of the snapshot belongs.
func (d *download) local(name string) string {
	return filepath.Join(d.client.snapshotDir(d.repo, d.commit), filepath.FromSlash(name))
}

// file makes one file of the snapshot present.
func (d *download) file(ctx context.Context, name string) error {
	d.progress.File = name
	local := d.local(name)
	if info, err := os.Stat(local); err == nil && info.Mode().IsRegular() {
		d.progress.Done += info.Size()
		d.report(false)
		return nil // names appear only after their content was checked
	}
	b, err := d.head(ctx, name)
	if err != nil {
		return err
	}
	return d.blob(ctx, name, b)
}

// blob makes the content of a file present and gives it its name. Whoever else does so, huggingface_hub included, waits at
// the same lock.
func (d *download) blob(ctx context.Context, name string, b blob) error {
	path := filepath.Join(d.client.folder(d.repo), "blobs", b.etag)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return d.unwritable(name, err)
	}
	lock, err := d.lock(ctx, b)
	partial := path + ".incomplete"
	switch {
	case err == nil:
		defer lock.Release()
	case errors.Is(err, errors.ErrUnsupported):
		partial = path + "." + rand.Text() + ".incomplete" // shared with nobody, and not continued
		defer os.Remove(partial)
	case ctx.Err() != nil:
		return err
	default:
		return d.unwritable(name, err)
	}
	if err := os.WriteFile(d.unfinished(), nil, 0o666); err != nil {
		return d.unwritable(name, err)
	}
	if err := b.check(ctx, path); err == nil { // by somebody else, or for another commit
		d.progress.Done += b.size
		d.report(false)
	} else if ctx.Err() != nil {
		return err
	} else if err := d.grow(ctx, name, b, partial, path); err != nil {
		return err
	}
	if local := d.local(name); same(path, local) != nil {
		if err := link(path, local); err != nil {
			return d.unwritable(name, err)
		}
	}
	return nil
}

// lock waits until nobody else fetches a blob.
func (d *download) lock(ctx context.Context, b blob) (*filelock.Lock, error) {
	dir := d.client.locks(d.repo)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	lock, err := filelock.Wait(ctx, filepath.Join(dir, b.etag+".lock"), func(held *filelock.HeldError) {
		d.say(fmt.Sprintf("%s is being fetched by %s", d.progress.File, held.By()))
	})
	d.progress.Waiting = ""
	return lock, err
}

// grow downloads a blob through a file beside it until size and hash are right. What another attempt left is continued; if
// it turns out to be wrong, the download begins anew.
func (d *download) grow(ctx context.Context, name string, b blob, partial, path string) error {
	f, err := os.OpenFile(partial, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return d.unwritable(name, err)
	}
	defer f.Close()
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return d.unwritable(name, err)
	}
	p := &part{download: d, name: name, blob: b, f: f, have: have, most: have}
	d.progress.Done += have
	if have > b.size { // left over from something else
		if err := p.restart(); err != nil {
			return d.unwritable(name, err)
		}
	}
	continued := p.have > 0
	err = p.complete(ctx)
	if continued && errors.Is(err, ErrHash) {
		if err := p.restart(); err != nil {
			return d.unwritable(name, err)
		}
		p.most = 0
		err = p.complete(ctx)
	}
	f.Close()
	if errors.Is(err, ErrHash) {
		os.Remove(partial)
	}
	if err != nil {
		return err
	}
	if err := os.Rename(partial, path); err != nil {
		return d.unwritable(name, err)
	}
	return nil
}

// check compares a file's size and content with the blob's.
func (b blob) check(ctx context.Context, path string) error {
	f, err := openfile.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := b.hash()
	n, err := io.Copy(sum, cancelled{ctx, f})
	if err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); n != b.size || got != b.etag {
		return fmt.Errorf("%w: have %s of %d bytes, want %s of %d", ErrHash, got, n, b.etag, b.size)
	}
	return nil
}

// cancelled is a reader that ends with its context.
type cancelled struct {
	ctx context.Context
	io.Reader
}

// Read implements io.Reader.
func (c cancelled) Read(b []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.Reader.Read(b)
}

// hash starts the sum that the blob's etag is: SHA-256 of the content, or git's SHA-1 of header and content.
func (b blob) hash() hash.Hash {
	if len(b.etag) == 64 {
		return sha256.New()
	}
	sum := sha1.New()
	fmt.Fprintf(sum, "blob %d\x00", b.size)
	return sum
}

// unwritable explains a failure of the disk.
func (d *download) unwritable(name string, err error) error {
	if atomicfile.IsDiskFull(err) {
		return fmt.Errorf("hub: %s of %s: the disk is full: %.1f MB are still to come; free some space or set HF_HUB_CACHE to a folder on another disk, then run again (what is here is kept): %w",
			name, d.repo.id, float64(d.progress.Total-d.progress.Done)/1e6, err)
	}
	return fmt.Errorf("hub: %s of %s: cannot be kept in the cache: %w; check %s, or set HF_HUB_CACHE to a folder you may write to", name, d.repo.id, err, d.client.Cache)
}

// part is a blob that is growing.
type part struct {
	*download
	name string
	blob blob
	f    *os.File
	have int64
	most int64 // that it ever had, less what was too little to count
}

// enough is how many bytes count as progress: fewer of them, be it again and again, are a server that does not work.
const enough = 1 << 16

// restart empties the file.
func (p *part) restart() error {
	p.progress.Done -= p.have
	p.have = 0
	return p.f.Truncate(0)
}

// complete fetches what is missing, and checks the whole file as it is on the disk.
func (p *part) complete(ctx context.Context) error {
	if err := p.retry(ctx, func() (bool, error) { return p.more(ctx) }); err != nil {
		return err
	}
	if err := p.f.Sync(); err != nil {
		return p.unwritable(p.name, err)
	}
	if err := p.blob.check(ctx, p.f.Name()); err != nil {
		return fmt.Errorf("hub: %s of %s: %w; run the download again", p.name, p.repo.id, err)
	}
	return nil
}

// more asks for the rest and appends what comes. Progress is what was never here before.
func (p *part) more(ctx context.Context) (progressed bool, err error) {
	if p.have == p.blob.size {
		return true, nil
	}
	// A connection that stays silent, or drips, is cut, to be made anew.
	attempt, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(p.client.patience(), func() { cancel(errSilent) })
	defer watchdog.Stop()

	response, err := p.get(attempt, p.name, p.have)
	if status, ok := errors.AsType[*StatusError](err); ok && status.Code == http.StatusRequestedRangeNotSatisfiable && p.have > 0 {
		if err := p.restart(); err != nil {
			return false, p.unwritable(p.name, err)
		}
		return false, &passingError{error: fmt.Errorf("hub: %s of %s: the server does not continue it", p.name, p.repo.id)}
	}
	if err != nil {
		return false, p.lost(ctx, err)
	}
	defer response.Body.Close()
	if p.have > 0 && !continues(response, p.have) {
		if err := p.restart(); err != nil { // the server sends everything again
			return false, p.unwritable(p.name, err)
		}
	}
	err = p.append(response.Body, func() { watchdog.Reset(p.client.patience()) })
	if progressed = p.have >= p.most+enough; progressed {
		p.most = p.have
	}
	if cause := context.Cause(attempt); cause != nil && p.have < p.blob.size {
		err = cause
	}
	return progressed, p.lost(ctx, err)
}

// append adds what the server sends until the blob is whole. alive is called after every piece that is enough.
func (p *part) append(body io.Reader, alive func()) error {
	buffer, since := make([]byte, 1<<18), 0
	for p.have < p.blob.size {
		n, err := body.Read(buffer)
		if p.have+int64(n) > p.blob.size {
			return fmt.Errorf("hub: %s of %s: the server sends more than the %d bytes it announced", p.name, p.repo.id, p.blob.size)
		}
		if _, err := p.f.WriteAt(buffer[:n], p.have); err != nil {
			return p.unwritable(p.name, err)
		}
		p.have += int64(n)
		p.fresh += int64(n)
		p.progress.Done += int64(n)
		p.report(false)
		if since += n; since >= enough {
			alive()
			since = 0
		}
		if err == io.EOF && p.have < p.blob.size {
			err = fmt.Errorf("it ended after %d of %d bytes", p.have, p.blob.size)
		}
		if err != nil && p.have < p.blob.size {
			return &passingError{error: err}
		}
	}
	return nil
}

// lost tells of which file a connection was lost. The caller's own cancellation and refusals stay what they are.
func (p *part) lost(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && err != nil {
		return cause
	}
	if _, refused := errors.AsType[*StatusError](err); refused {
		return err
	}
	passing, ok := errors.AsType[*passingError](err)
	if ok {
		err = passing.error
	}
	if !ok && !errors.Is(err, errSilent) {
		return err
	}
	return &passingError{error: fmt.Errorf("hub: %s of %s: connection lost: %w; run again to continue", p.name, p.repo.id, err)}
}

// continues reports whether the answer is the rest of the file from have on.
func continues(response *http.Response, have int64) bool {
	return response.StatusCode == http.StatusPartialContent &&
		strings.HasPrefix(response.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", have))
}

// say tells the caller at once that the download waits, and for what; "" that it goes on.
func (d *download) say(waiting string) {
	d.progress.Waiting = waiting
	d.report(true)
}

// report tells the caller, now and then or because it must be now.
func (d *download) report(now bool) {
	if d.client.Progress == nil || !now && time.Since(d.reported) < 100*time.Millisecond {
		return
	}
	d.reported = time.Now()
	p := d.progress
	p.Done = min(p.Done, p.Total)
	if seconds := time.Since(d.start).Seconds(); seconds > 0 && d.fresh > 0 {
		p.Rate = float64(d.fresh) / seconds
		p.Left = time.Duration(float64(p.Total-p.Done) / p.Rate * float64(time.Second))
	}
	d.client.Progress(p)
}
