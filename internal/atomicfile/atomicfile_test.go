package atomicfile_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/atelier-go/atelier/internal/atomicfile"
	"github.com/atelier-go/atelier/internal/openfile"
)

// holds checks a file's content, and that its folder has so many entries.
func holds(t *testing.T, path, want string, entries int) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s holds %q, %v, want %q", path, got, err, want)
	}
	if list, err := os.ReadDir(filepath.Dir(path)); err != nil || len(list) != entries {
		t.Errorf("the folder has %v, %v, want %d entries", list, err, entries)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := atomicfile.WriteFile(path, []byte(content)); err != nil {
		t.Fatal(err)
	}
}

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.txt")
	write(t, path, "one")
	holds(t, path, "one", 1)

	f, err := atomicfile.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("half of tw"); err != nil {
		t.Fatal(err)
	}
	f.Abort()
	holds(t, path, "one", 1)

	write(t, path, "three")
	holds(t, path, "three", 1)

	if err := atomicfile.WriteFile(filepath.Join(dir, "missing", "a.txt"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("writing into a folder that is not there: %v", err)
	}
	full := filepath.Join(dir, "folder")
	if err := os.MkdirAll(filepath.Join(full, "inside"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.WriteFile(full, []byte("x")); err == nil {
		t.Error("a file took the name of a folder with something in it")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("after failing the folder holds %v, %v, want the file and the folder", entries, err)
	}
}

func TestModeIsKept(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files have no such modes")
	}
	path := filepath.Join(t.TempDir(), "a")
	for _, mode := range []fs.FileMode{0o600, 0o640, 0o666, 0o444, 0o755} {
		write(t, path, "old")
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		write(t, path, "new")
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("a file of mode %v has %v after it was replaced, %v", mode, info.Mode(), err)
		}
	}
}

func TestLinksAreFollowed(t *testing.T) {
	for _, absolute := range []bool{false, true} {
		dir := t.TempDir()
		real := filepath.Join(dir, "elsewhere", "real")
		if err := os.Mkdir(filepath.Dir(real), 0o777); err != nil {
			t.Fatal(err)
		}
		link, first := filepath.Join(dir, "link"), filepath.Join("elsewhere", "real")
		if absolute {
			first = real
		}
		if err := errors.Join(os.Symlink(first, filepath.Join(dir, "second")), os.Symlink("second", link)); err != nil {
			t.Skip("no symbolic links here:", err)
		}
		if _, err := os.Readlink(link); err != nil {
			t.Skip("symbolic links cannot be read here:", err)
		}
		for _, content := range []string{"through a link to nothing", "through a link to a file"} {
			write(t, link, content)
			holds(t, real, content, 1)
		}
		if to, err := os.Readlink(link); err != nil || to != "second" {
			t.Errorf("the link leads to %q now, %v", to, err)
		}
		loop := filepath.Join(dir, "loop")
		if err := os.Symlink("loop", loop); err != nil {
			t.Fatal(err)
		}
		if err := atomicfile.WriteFile(loop, nil); err == nil || !strings.Contains(err.Error(), "links") {
			t.Errorf("a link to itself: %v", err)
		}
	}
}

func TestLongNames(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{strings.Repeat("x", 255), strings.Repeat("ä", 127), strings.Repeat("x", 251) + ".png"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			t.Skip("such names do not exist here:", err)
		}
		if err := atomicfile.Check(path); err != nil {
			t.Errorf("%d bytes: %v", len(name), err)
		}
		write(t, path, "content")
		if got, _ := os.ReadFile(path); string(got) != "content" {
			t.Errorf("%d bytes: %q", len(name), got)
		}
	}
	if err := atomicfile.Check(filepath.Join(dir, strings.Repeat("x", 256))); err == nil {
		t.Error("a name of 256 bytes passes the check")
	}
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	write(t, file, "content")
	for _, tt := range []struct {
		path string
		want error
		says string
	}{
		{file, nil, ""},
		{filepath.Join(dir, "new"), nil, ""},
		{dir, openfile.ErrNotRegular, "a folder"},
		{filepath.Join(dir, "none", "new"), fs.ErrNotExist, "there is no folder " + filepath.Join(dir, "none")},
		{filepath.Join(file, "new"), nil, "file is no folder"},
	} {
		err := atomicfile.Check(tt.path)
		if (err == nil) != (tt.want == nil && tt.says == "") || tt.want != nil && !errors.Is(err, tt.want) || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %v %q", tt.path, err, tt.want, tt.says)
		}
	}
	holds(t, file, "content", 1)
	if runtime.GOOS != "windows" {
		if err := atomicfile.Check("/dev/null"); !errors.Is(err, openfile.ErrNotRegular) {
			t.Errorf("/dev/null: %v", err)
		}
		locked := filepath.Join(dir, "locked")
		if err := os.Mkdir(locked, 0o555); err != nil {
			t.Fatal(err)
		}
		if err := atomicfile.Check(filepath.Join(locked, "new")); os.Getuid() != 0 && !errors.Is(err, fs.ErrPermission) {
			t.Errorf("a folder that may not be written: %v", err)
		}
	}
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "folder")
	for _, commit := range []bool{false, true} {
		f, err := atomicfile.CreateFolder(path)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(f.Path, "a"), "content")
		if commit {
			if err := f.Commit(); err != nil {
				t.Fatal(err)
			}
		}
		f.Abort()
		if list, _ := os.ReadDir(dir); len(list) != map[bool]int{true: 1}[commit] {
			t.Errorf("commit %v leaves %v", commit, list)
		}
	}
	holds(t, filepath.Join(path, "a"), "content", 1)
	if _, err := atomicfile.CreateFolder(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a folder that is there: %v", err)
	}
}

// TestKilledWriter has another process begin a file and a folder and end, while this one holds some of its own.
func TestKilledWriter(t *testing.T) {
	if dir := os.Getenv("ATOMICFILE_TEST_KILLED"); dir != "" {
		f, err1 := atomicfile.Create(filepath.Join(dir, "killed"))
		d, err2 := atomicfile.CreateFolder(filepath.Join(dir, "killed folder"))
		if err := errors.Join(err1, err2, os.WriteFile(filepath.Join(d.Path, "x"), nil, 0o666)); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(f, "half")
		os.Exit(0) // without Abort, as after SIGKILL
	}
	dir := t.TempDir()
	killed := exec.Command(os.Args[0], "-test.run=^TestKilledWriter$")
	killed.Env = append(os.Environ(), "ATOMICFILE_TEST_KILLED="+dir)
	if out, err := killed.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	abandoned := entries(t, dir)
	if len(abandoned) != 2 {
		t.Fatalf("the other process left %v, want two temporary entries", abandoned)
	}
	inner := filepath.Join(dir, "inner") // held by this process, which is looked at through another path, as by another program
	alias := filepath.Join(dir, ".") + string(filepath.Separator) + "."
	mine, err := atomicfile.Create(inner)
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Abort()
	folder, err := atomicfile.CreateFolder(filepath.Join(dir, "inner folder"))
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Abort()
	ordinary, callers := filepath.Join(dir, ".mine.atelier-notes"), atomicfile.Temporary(filepath.Join(dir, "state"))
	write(t, ordinary, "a user's file")
	if err := os.Mkdir(callers, 0o777); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	for _, name := range append(abandoned, filepath.Base(mine.Name()), filepath.Base(folder.Path), filepath.Base(ordinary), filepath.Base(callers)) {
		if err := os.Chtimes(filepath.Join(dir, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	atomicfile.Sweep(alias)
	left := entries(t, dir)
	want := []string{filepath.Base(mine.Name()), filepath.Base(folder.Path), filepath.Base(ordinary), filepath.Base(callers)}
	if len(left) != len(want) {
		t.Errorf("left are %v, want %v", left, want)
	}
	for _, name := range want {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

func entries(t *testing.T, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}
