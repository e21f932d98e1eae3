package dataset

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestCaptionNames: a caption that lies beside its picture is read whatever its extension's case, behind the picture's own
// extension and however its accents are composed, and what sd-scripts would not find is told.
func TestCaptionNames(t *testing.T) {
	for _, c := range []struct {
		name, picture, caption string
		usual                  bool
	}{
		{"usual", "p.png", "p.txt", true},
		{"other usual", "p.png", "p.caption", true},
		{"upper case", "p.png", "p.TXT", false},
		{"picture in upper case", "P.PNG", "p.txt", false},
		{"double extension", "p.png", "p.png.txt", false},
		{"composed beside decomposed", "caf\u00e9.png", "cafe\u0301.txt", false},
		{"decomposed beside composed", "cafe\u0301.png", "caf\u00e9.txt", false},
		{"both decomposed", "cafe\u0301.png", "cafe\u0301.txt", true},
		{"face crop", "p_1_2_3_4.png", "p.txt", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			dir := filepath.Join(root, "3_a")
			writePNG(t, filepath.Join(dir, c.picture), 64, 64, grey)
			writeFile(t, filepath.Join(dir, c.caption), "words")
			d := mustOpen(t, Config{Sets: []Set{tinySet(root, "")}})
			if got := d.Pictures()[0].Caption; got != "words" {
				t.Errorf("caption %q", got)
			}
			if told := hasWarning(d.Report(), "1 captions are read from files that sd-scripts would not find: "+c.caption); told == c.usual {
				t.Errorf("warnings %q", d.Report().Warnings)
			}
		})
	}
}

// TestPassedOver: every file that has no use is named.
func TestPassedOver(t *testing.T) {
	root := t.TempDir()
	dir := pictures(t, filepath.Join(root, "3_a"), "a", 2, 64, 64)
	picture := readFile(t, filepath.Join(dir, "a000.png"))
	for name, content := range map[string]string{
		"a000.txt": "\r\n\r\nbelow", "a001.txt": "man\nwith glasses\n", "lonely.txt": "x", "a001.caption": "second", "notes.docx": "x", "b.HEIC": "x", "clip.mp4": "x", "c.jfif": picture, "d.JPE": picture,
		".DS_Store": "x", "Thumbs.db": "x", "._a000.png": "x", "a000_0064x0064_sd.npz": "x", "../beside.jpg": picture, "../beside.heic": "x",
	} {
		writeFile(t, filepath.Join(dir, name), content)
	}
	d := mustOpen(t, Config{Sets: []Set{tinySet(root, "")}})
	if n := len(d.Pictures()); n != 4 {
		t.Errorf("%d pictures, want .png, .jfif and .JPE", n)
	}
	r := d.Report()
	for _, want := range []string{
		"1 pictures are in formats that are not read: b.HEIC; export them as JPEG or PNG",
		"2 captions are not used, as they are no picture's: a001.caption, lonely.txt",
		"2 files are passed over, as they are neither pictures nor captions: clip.mp4, notes.docx",
		"1 caption files begin with a blank line, so that their pictures are learned without a caption: a000.txt",
		"1 caption files have more lines than the first, which alone is learned: a001.txt",
		"2 pictures beside the folders are not used: beside.heic, beside.jpg",
	} {
		if !hasWarning(r, want) {
			t.Errorf("no warning with %q in\n%s", want, strings.Join(r.Warnings, "\n"))
		}
	}
	for _, quiet := range []string{"DS_Store", "Thumbs", "._a000", ".npz"} {
		if hasWarning(r, quiet) {
			t.Errorf("a warning of %s", quiet)
		}
	}
}

// TestNothingRead: a folder of photos that are not read says so, and how to export them.
func TestNothingRead(t *testing.T) {
	root := t.TempDir()
	writeFile(t, filepath.Join(root, "2_a", "IMG_0001.HEIC"), "x")
	writeFile(t, filepath.Join(root, "2_a", "IMG_0001.txt"), "x")
	checkRefused(t, "HEIC alone", Config{Sets: []Set{tinySet(root, "")}}, []string{"holds 1 pictures, but none in a format that is read: IMG_0001.HEIC; export them as JPEG or PNG"})
}

// TestNotes: what of a picture is not shown is told.
func TestNotes(t *testing.T) {
	root := t.TempDir()
	writeFile(t, filepath.Join(root, "2_a", "moving.webp"), readFile(t, "../../internal/picture/testdata/moving.webp"))
	if r := mustOpen(t, Config{Sets: []Set{tinySet(root, "")}}).Report(); !hasWarning(r, "moving.webp: it is animated: its first frame is used") {
		t.Errorf("warnings %q", r.Warnings)
	}
}

// TestReplacedWhileTraining: another version of a photo or a mask than was checked is not learned unsaid.
func TestReplacedWhileTraining(t *testing.T) {
	root := t.TempDir()
	dir, masks := pictures(t, filepath.Join(root, "3_a"), "a", 1, 64, 64), pictures(t, filepath.Join(root, "masks"), "a", 1, 64, 64)
	set := tinySet(root, "")
	set.Folder.ConditioningDataDir = masks
	p := mustOpen(t, Config{Sets: []Set{set}}).Pictures()[0]
	if _, err := p.Load(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{masks, dir} {
		writePNG(t, filepath.Join(folder, "a000.png"), 64, 65, grey)
		if _, err := p.Load(t.Context(), false); err == nil || !strings.Contains(err.Error(), filepath.Join(folder, "a000.png")+" was replaced or edited since training began") {
			t.Errorf("replaced in %s: %v", folder, err)
		}
	}
}

// TestDigest: it tells pictures and masks from others.
func TestDigest(t *testing.T) {
	root := t.TempDir()
	dir, masks := pictures(t, filepath.Join(root, "3_a"), "a", 1, 64, 64), pictures(t, filepath.Join(root, "masks"), "a", 1, 64, 64)
	set := tinySet(root, "")
	set.Folder.ConditioningDataDir = masks
	digest := func() string {
		t.Helper()
		sum, err := mustOpen(t, Config{Sets: []Set{set}}).Pictures()[0].Digest()
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	first := digest()
	if again := digest(); again != first {
		t.Errorf("%s, then %s", first, again)
	}
	seen := map[string]bool{first: true}
	for _, folder := range []string{masks, dir} {
		file := filepath.Join(folder, "a000.png")
		writeFile(t, file, readFile(t, file)+"trailing")
		if sum := digest(); seen[sum] {
			t.Errorf("with another file in %s: %s again", folder, sum)
		} else {
			seen[sum] = true
		}
	}
}
