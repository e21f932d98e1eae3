package lora_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/lora/internal/loratest"

	"github.com/atelier-go/atelier/lora"
)

// put writes an adapter's file with an ss_output_name, "-" for no metadata.
func put(t testing.TB, dir, name, alias string) string {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	metadata := map[string]string{"ss_output_name": alias}
	if alias == "-" {
		metadata = nil
	}
	loratest.WriteTo(t, path, nil, metadata)
	return path
}

func TestFolderFind(t *testing.T) {
	for _, c := range []struct {
		name  string
		files [][2]string // path and alias; those below "second" are in a second folder
		find  map[string]string
	}{
		{"stem", [][2]string{{"a.safetensors", "-"}}, map[string]string{"a": "a.safetensors", "A": "", "a.safetensors": "a.safetensors", "a.SafeTensors": "a.safetensors", "a.png": "", "": ""}},
		{"alias", [][2]string{{"a.safetensors", "person"}}, map[string]string{"a": "a.safetensors", "person": "a.safetensors", "Person": ""}},
		{"alias None", [][2]string{{"a.safetensors", "None"}}, map[string]string{"None": ""}},
		{"below", [][2]string{{"people/men/a.safetensors", "person"}}, map[string]string{
			"a": "people/men/a.safetensors", "people/men/a": "people/men/a.safetensors", `people\men\a.safetensors`: "people/men/a.safetensors",
			"men/a": "", "people/men": "", "person": "people/men/a.safetensors", "person.safetensors": ""}},
		{"path among duplicates", [][2]string{{"a b/x.safetensors", "-"}, {"second/c/x.safetensors", "-"}}, map[string]string{"a b/x": "a b/x.safetensors", "x": "second/c/x.safetensors"}},
		{"extension in the name", [][2]string{{"x.safetensors", "-"}, {"x.safetensors.safetensors", "-"}}, map[string]string{"x.safetensors": "x.safetensors.safetensors", "x": "x.safetensors"}},
		{"later duplicate", [][2]string{{"a/x.safetensors", "-"}, {"b/x.safetensors", "-"}}, map[string]string{"x": "b/x.safetensors"}},
		{"later folder", [][2]string{{"x.safetensors", "-"}, {"second/a/x.safetensors", "-"}}, map[string]string{"x": "second/a/x.safetensors"}},
		{"two of one alias", [][2]string{{"a.safetensors", "person"}, {"b.safetensors", "person"}},
			map[string]string{"person": "", "a": "a.safetensors", "b": "b.safetensors"}},
		{"alias is an earlier stem", [][2]string{{"a.safetensors", "-"}, {"b.safetensors", "a"}}, map[string]string{"a": "a.safetensors", "b": "b.safetensors"}},
		{"alias is a later stem", [][2]string{{"a.safetensors", "b"}, {"b.safetensors", "-"}}, map[string]string{"a": "a.safetensors", "b": "b.safetensors"}},
		{"dots and blanks", [][2]string{{"my lora v1.5.safetensors", "-"}}, map[string]string{"my lora v1.5": "my lora v1.5.safetensors", "my lora v1": ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			first, second := filepath.Join(root, "first"), filepath.Join(root, "second")
			for _, dir := range []string{first, second} {
				if err := os.Mkdir(dir, 0o777); err != nil {
					t.Fatal(err)
				}
			}
			place := func(name string) string {
				if after, ok := strings.CutPrefix(name, "second/"); ok {
					return filepath.Join(second, filepath.FromSlash(after))
				}
				return filepath.Join(first, filepath.FromSlash(name))
			}
			for _, f := range c.files {
				put(t, filepath.Dir(place(f[0])), filepath.Base(f[0]), f[1])
			}
			f, err := lora.OpenFolder(first, second)
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range c.find {
				path, err := f.Find(name)
				_, notFound := errors.AsType[*lora.NotFoundError](err)
				switch {
				case want == "" && (!notFound || path != ""):
					t.Errorf("%q finds %q, %v; want nothing", name, path, err)
				case want != "" && (err != nil || path != place(want)):
					t.Errorf("%q finds %q, %v; want %q", name, path, err, place(want))
				}
			}
		})
	}
}

// TestFolderChanges adds and removes files after the folder was opened.
func TestFolderChanges(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a.safetensors", "-")
	f, err := lora.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	b := put(t, dir, "sub/b.safetensors", "person")
	if path, err := f.Find("person"); err != nil || path != b {
		t.Errorf("the new file is %q, %v", path, err)
	}
	if got, want := f.Names(), []string{"a", "b", "person"}; !slices.Equal(got, want) {
		t.Errorf("the names are %q, want %q", got, want)
	}
	if err := os.Remove(b); err != nil {
		t.Fatal(err)
	}
	if path, err := f.Find("person"); err == nil {
		t.Errorf("the removed file is %q", path)
	}
}

func TestFolderErrors(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "PersonName_v1.safetensors", "-")
	for name, content := range map[string]string{"broken.safetensors": "x", "old.ckpt": "PK\x03\x04 and so on", "notes.txt": "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	f, err := lora.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, say string }{
		{"personname_v1", `there is "PersonName_v1"; upper and lower case count`},
		{"personname", `there is "PersonName_v1"`},
		{"zebra", "put zebra.safetensors there"},
		{"notes", "put notes.safetensors there"},
	} {
		if _, err := f.Find(c.name); err == nil || !strings.Contains(err.Error(), c.say) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%q: the error is %v\nwant the folder and %q in it", c.name, err, c.say)
		}
	}
	for _, c := range []struct{ name, say string }{{"broken", "not a safetensors file"}, {"old", "not a sound PyTorch file"}} {
		path, err := f.Find(c.name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := lora.Open(path, loratest.TinyTargets(t)); err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%q: the error is %v\nwant %q in it", c.name, err, c.say)
		}
	}
	if _, err := lora.OpenFolder(filepath.Join(dir, "nowhere")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
	none, err := lora.OpenFolder()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := none.Find("x"); err == nil || !strings.Contains(err.Error(), "no folder") {
		t.Errorf("no folder: %v", err)
	}
}

// TestFolderAmbiguous asks for the name that two files were saved under, and follows the advice.
func TestFolderAmbiguous(t *testing.T) {
	dir := t.TempDir()
	paths := []string{put(t, dir, "x-000001.safetensors", "x"), put(t, dir, "x-000002.safetensors", "x"), put(t, dir, "old/x-000001.safetensors", "x"), put(t, dir, "z/x-000002.safetensors", "x")}
	f, err := lora.OpenFolder(dir, dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Find("x")
	e, ok := errors.AsType[*lora.NotFoundError](err)
	if !ok || len(e.Files) != 4 {
		t.Fatalf("the error is %v", err)
	}
	for _, part := range append(paths, "ss_output_name", "<lora:x-000002:1>", "<lora:x-000002.safetensors:1>") {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q: %v", part, err)
		}
	}
	if strings.Contains(err.Error(), `there is "x"`) {
		t.Errorf("the error contradicts itself: %v", err)
	}
	for i, choice := range e.Choices {
		if path, err := f.Find(choice); err != nil || path != e.Files[i] {
			t.Errorf("%q finds %q, %v; want %q", choice, path, err, e.Files[i])
		}
	}
	if len(slices.Compact(slices.Sorted(slices.Values(e.Choices)))) != len(e.Choices) {
		t.Errorf("choices are not distinct: %q", e.Choices)
	}
	if slices.Contains(f.Names(), "x") {
		t.Errorf("%q finds nothing but is among the names", "x")
	}
}

// TestFolderLazy finds a file by its name without a look at the others, and its alias in spite of broken ones.
func TestFolderLazy(t *testing.T) {
	dir := t.TempDir()
	want := put(t, dir, "a.safetensors", "person")
	broken := map[string]string{"empty": "", "text": "x", "json": `{"error":"Unauthorized"}`, "huge": "\xff\xff\xff\xff\xff\xff\xff\x7f{}"}
	for name, content := range broken {
		if err := os.WriteFile(filepath.Join(dir, name+".safetensors"), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	f, err := lora.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "person"} {
		if path, err := f.Find(name); err != nil || path != want {
			t.Errorf("%q finds %q, %v", name, path, err)
		}
	}
	if _, err := lora.Open(filepath.Join(dir, "json.safetensors"), loratest.TinyTargets(t)); err == nil || !strings.Contains(err.Error(), "JSON answer") {
		t.Errorf("an answer of a server: %v", err)
	}
}

// TestFolderRenamed gives a file another alias: it is read again.
func TestFolderRenamed(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a.safetensors", "person")
	f, err := lora.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Find("person"); err != nil {
		t.Fatal(err)
	}
	want := put(t, dir, "a.safetensors", "somebody")
	if path, err := f.Find("somebody"); err != nil || path != want {
		t.Errorf("found %q, %v", path, err)
	}
}

// TestFolderLinks follows links, also those that lead in circles and nowhere.
func TestFolderLinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need a privilege on Windows")
	}
	dir, elsewhere := t.TempDir(), t.TempDir()
	put(t, elsewhere, "a.safetensors", "-")
	for name, to := range map[string]string{"link": elsewhere, "circle": dir, "nowhere": filepath.Join(dir, "gone")} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	f, err := lora.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if path, err := f.Find("a"); err != nil || path != filepath.Join(dir, "link", "a.safetensors") {
		t.Errorf("found %q, %v", path, err)
	}
}
