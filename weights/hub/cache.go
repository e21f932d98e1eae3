package hub

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/atelier-go/atelier/internal/atomicfile"
	"github.com/atelier-go/atelier/internal/openfile"
)

// maxSmallBytes bounds a token and the commit of a branch.
const maxSmallBytes = 1 << 12

// folder is where the cache keeps a repository: blobs by hash, snapshots of names that point to them, and
// refs from branch names to commits.
func (c *Client) folder(r repo) string {
	return filepath.Join(c.Cache, "models--"+strings.ReplaceAll(r.id, "/", "--"))
}

// locks is where those who download something of a repository wait for each other.
func (c *Client) locks(r repo) string {
	return filepath.Join(c.Cache, ".locks", filepath.Base(c.folder(r)))
}

func (c *Client) snapshotDir(r repo, commit string) string {
	return filepath.Join(c.folder(r), "snapshots", commit)
}

// unfinished is the file that marks a snapshot of which some files are missing. No ref leads to one, but its commit does.
func (c *Client) unfinished(r repo, commit string) string {
	return filepath.Join(c.locks(r), commit+".unfinished")
}

// cached finds a whole snapshot in the cache without asking anybody.
func (c *Client) cached(r repo) (path string, ok bool) {
	commit := r.revision
	if ref, err := openfile.ReadFile(filepath.Join(c.folder(r), "refs", filepath.FromSlash(r.revision)), maxSmallBytes); err == nil {
		commit = strings.TrimSpace(string(ref))
	} else if _, err := os.Lstat(c.unfinished(r, commit)); err == nil {
		return "", false
	}
	if !isHex(commit, 40) {
		return "", false
	}
	dir := c.snapshotDir(r, commit)
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		return "", false
	}
	if len(entries) == 1 && filepath.Ext(entries[0].Name()) == ".safetensors" {
		return filepath.Join(dir, entries[0].Name()), true
	}
	return dir, true
}

// link makes a snapshot's name point to a blob: by a relative symbolic link as huggingface_hub does; where those are not
// allowed, or lead nowhere (some systems take the link and do not follow it), by a hard link; else by a copy.
func link(blob, name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return err
	}
	relative, err := filepath.Rel(filepath.Dir(name), blob)
	if err != nil {
		return err
	}
	for _, way := range []func() error{
		func() error { return symlink(relative, name) },
		func() error { return os.Link(blob, name) },
		func() error { return copyFile(blob, name) },
	} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err // a link to an older blob, or a broken one, is replaced
		}
		if err = way(); err == nil {
			if err = same(blob, name); err == nil {
				return nil
			}
		}
	}
	return err
}

// symlink is os.Symlink; a variable so that a test can take the ability away.
var symlink = os.Symlink

// same looks whether a blob is to be read under another name.
func same(blob, name string) error {
	info, err := os.Stat(blob)
	if err != nil {
		return err
	}
	f, err := openfile.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	linked, err := f.Stat()
	if err == nil && linked.Size() != info.Size() {
		err = fmt.Errorf("%s has %d bytes, its content %d", name, linked.Size(), info.Size())
	}
	return err
}

// copyFile copies a blob.
func copyFile(from, to string) error {
	in, err := openfile.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := atomicfile.Create(to)
	if err != nil {
		return err
	}
	defer out.Abort()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Commit()
}

// writeRef notes which commit a revision is. It is written last, so that it never leads to half a snapshot.
func (c *Client) writeRef(r repo, commit string) error {
	if r.revision == commit {
		return nil
	}
	path := filepath.Join(c.folder(r), "refs", filepath.FromSlash(r.revision))
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	if err := atomicfile.WriteFile(path, []byte(commit)); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	return nil
}
