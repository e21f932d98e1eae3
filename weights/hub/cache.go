package hub

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// folder is where the cache keeps a repository: blobs by hash, snapshots of names that point to them, and
// refs from branch names to commits.
func (c *Client) folder(r repo) string {
	return filepath.Join(c.Cache, "models--"+strings.ReplaceAll(r.id, "/", "--"))
}

func (c *Client) snapshotDir(r repo, commit string) string {
	return filepath.Join(c.folder(r), "snapshots", commit)
}

// cached finds a snapshot in the cache without asking anybody.
func (c *Client) cached(r repo) (path string, ok bool) {
	commit := r.revision
	if ref, err := os.ReadFile(filepath.Join(c.folder(r), "refs", filepath.FromSlash(r.revision))); err == nil {
		commit = strings.TrimSpace(string(ref))
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
// allowed (Windows without developer mode) by a hard link; else by a copy.
func link(blob, name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return err
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err // a link to an older blob, or a broken one, is replaced
	}
	relative, err := filepath.Rel(filepath.Dir(name), blob)
	if err != nil {
		return err
	}
	if symlink(relative, name) == nil || os.Link(blob, name) == nil {
		return nil
	}
	return copyFile(blob, name)
}

// symlink is os.Symlink; a variable so that a test can take the ability away.
var symlink = os.Symlink

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	temp := to + ".incomplete"
	out, err := os.Create(temp)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temp, to)
	}
	if err != nil {
		os.Remove(temp)
	}
	return err
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
	temp := path + ".incomplete"
	err := os.WriteFile(temp, []byte(commit), 0o666)
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		os.Remove(temp)
		return fmt.Errorf("hub: %w", err)
	}
	return nil
}
