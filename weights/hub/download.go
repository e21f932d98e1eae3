package hub

import (
	"context"
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
	"github.com/atelier-go/atelier/weights"
)

const maxIndexBytes = 16 << 20

// fetch completes a snapshot and returns its path.
func (c *Client) fetch(ctx context.Context, r repo, info modelInfo) (string, error) {
	sizes := map[string]int64{}
	var names []string
	for _, s := range info.Siblings {
		names = append(names, s.Name)
		sizes[s.Name] = max(s.Size, 0)
	}
	chosen, err := choose(r, names, c.Variant)
	if err != nil {
		return "", err
	}
	d := &download{client: c, repo: r, commit: info.SHA, start: time.Now()}
	for _, index := range chosen.indices { // first: they name further files
		if err := d.file(ctx, index); err != nil {
			return "", err
		}
		shards, err := d.shards(index)
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
	if err := c.writeRef(r, info.SHA); err != nil {
		return "", err
	}
	d.report(true)
	return filepath.Join(c.snapshotDir(r, info.SHA), chosen.single), nil
}

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

// shards reads which files an index names.
func (d *download) shards(index string) ([]string, error) {
	f, err := os.Open(filepath.Join(d.client.snapshotDir(d.repo, d.commit), filepath.FromSlash(index)))
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxIndexBytes))
	if err != nil {
		return nil, fmt.Errorf("hub: %s: %w", index, err)
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

// file makes one file of the snapshot present.
func (d *download) file(ctx context.Context, name string) error {
	d.progress.File = name
	local := filepath.Join(d.client.snapshotDir(d.repo, d.commit), filepath.FromSlash(name))
	if info, err := os.Stat(local); err == nil && info.Mode().IsRegular() {
		d.progress.Done += info.Size()
		d.report(false)
		return nil // names appear only after their content was checked
	}
	b, err := d.client.head(ctx, d.repo, d.commit, name)
	if err != nil {
		return err
	}
	blobPath := filepath.Join(d.client.folder(d.repo), "blobs", b.etag)
	if info, err := os.Stat(blobPath); err == nil && info.Size() == b.size {
		d.progress.Done += b.size
		d.report(false)
	} else if err := d.blob(ctx, name, b, blobPath); err != nil {
		return err
	}
	if err := link(blobPath, local); err != nil {
		return d.local(name, err)
	}
	return nil
}

// blob downloads one blob through a file that keeps its name with ".incomplete" until size and hash are right.
func (d *download) blob(ctx context.Context, name string, b blob, blobPath string) error {
	if err := os.MkdirAll(filepath.Dir(blobPath), 0o777); err != nil {
		return d.local(name, err)
	}
	partial := blobPath + ".incomplete"
	f, err := os.OpenFile(partial, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return d.local(name, err)
	}
	defer f.Close()
	sum := b.hash()
	have, err := io.Copy(sum, f)
	if err != nil {
		return d.local(name, err)
	}
	p := &part{download: d, name: name, blob: b, f: f, sum: sum, have: have}
	d.progress.Done += have
	if have > b.size { // left over from something else
		if err := p.restart(); err != nil {
			return d.local(name, err)
		}
	}
	if err := d.client.retry(ctx, func() (bool, error) { return p.more(ctx) }); err != nil {
		return err
	}
	if got := hex.EncodeToString(p.sum.Sum(nil)); got != b.etag {
		f.Close()
		os.Remove(partial)
		return fmt.Errorf("hub: %s of %s: %w: have %s, want %s; it was deleted, run the download again", name, d.repo.id, ErrHash, got, b.etag)
	}
	if err := f.Sync(); err != nil {
		return d.local(name, err)
	}
	if err := f.Close(); err != nil {
		return d.local(name, err)
	}
	if err := os.Rename(partial, blobPath); err != nil {
		return d.local(name, err)
	}
	return nil
}

// ErrHash is in the error for a file whose content is not what the Hub published.
var ErrHash = errors.New("the content does not match its hash")

// hash starts the sum that the blob's etag is: SHA-256 of the content, or git's SHA-1 of header and content.
func (b blob) hash() hash.Hash {
	if len(b.etag) == 64 {
		return sha256.New()
	}
	sum := sha1.New()
	fmt.Fprintf(sum, "blob %d\x00", b.size)
	return sum
}

// local explains a failure of the disk.
func (d *download) local(name string, err error) error {
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
	sum  hash.Hash
	have int64
}

func (p *part) restart() error {
	p.progress.Done -= p.have
	p.have, p.sum = 0, p.blob.hash()
	if err := p.f.Truncate(0); err != nil {
		return err
	}
	_, err := p.f.Seek(0, io.SeekStart)
	return err
}

// more asks for the rest and appends what comes.
func (p *part) more(ctx context.Context) (progressed bool, err error) {
	if p.have == p.blob.size {
		return true, nil
	}
	// A connection that stays silent is cut, to be made anew.
	stall := p.client.stall
	if stall == 0 {
		stall = time.Minute
	}
	attempt, cancel := context.WithCancel(ctx)
	defer cancel()
	watchdog := time.AfterFunc(stall, cancel)
	defer watchdog.Stop()

	response, err := p.client.get(attempt, p.repo, p.commit, p.name, p.have)
	if err != nil {
		return false, p.passing(ctx, err)
	}
	defer response.Body.Close()
	if p.have > 0 && !continues(response, p.have) {
		if err := p.restart(); err != nil { // the server sends everything again
			return false, p.local(p.name, err)
		}
	}
	buffer := make([]byte, 1<<18)
	for {
		watchdog.Reset(stall)
		n, err := response.Body.Read(buffer)
		if n > 0 {
			if p.have+int64(n) > p.blob.size {
				return true, fmt.Errorf("hub: %s of %s: the server sends more than the %d bytes it announced", p.name, p.repo.id, p.blob.size)
			}
			if _, err := p.f.Write(buffer[:n]); err != nil {
				return true, p.local(p.name, err)
			}
			p.sum.Write(buffer[:n])
			p.have += int64(n)
			p.fresh += int64(n)
			p.progress.Done += int64(n)
			progressed = true
			p.report(false)
		}
		switch {
		case p.have == p.blob.size:
			return true, nil
		case err == io.EOF:
			return progressed, &passingError{fmt.Errorf("hub: %s of %s: the connection ended after %d of %d bytes; run again to continue", p.name, p.repo.id, p.have, p.blob.size)}
		case err != nil:
			return progressed, p.passing(ctx, err)
		}
	}
}

// passing makes every failure of the connection repeatable, except the caller's own cancellation and refusals.
func (p *part) passing(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var status *StatusError
	var passing *passingError
	if errors.As(err, &passing) || errors.As(err, &status) {
		return err
	}
	return &passingError{fmt.Errorf("hub: %s of %s: connection lost: %w; run again to continue", p.name, p.repo.id, err)}
}

// continues reports whether the answer is the rest of the file from have on.
func continues(response *http.Response, have int64) bool {
	return response.StatusCode == http.StatusPartialContent &&
		strings.HasPrefix(response.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", have))
}

// report tells the caller, now and then or because it is the end.
func (d *download) report(last bool) {
	if d.client.Progress == nil || !last && time.Since(d.reported) < 100*time.Millisecond {
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
