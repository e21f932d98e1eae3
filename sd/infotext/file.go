package infotext

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// The key under which PNG files have the text, and its bounds: nobody writes as much, and what is longer is not read.
const (
	parameters = "parameters"
	maxText    = 4 << 20  // bytes of one text
	maxTexts   = 16 << 20 // bytes of all texts of a file
)

// ErrFormat is that of a file which is no PNG, JPEG or WebP picture.
var ErrFormat = errors.New("infotext: not a PNG, JPEG or WebP picture")

// Entry is a text that a picture file has, and its key there.
type Entry struct{ Key, Text string }

// Metadata are the texts of a picture file.
type Metadata struct {
	Entries       []Entry // as they stand in the file; the key of an EXIF comment is "UserComment"
	Width, Height int     // of a PNG picture, in pixels
}

// userComment is the key of an EXIF comment.
const userComment = "UserComment"

// Get is the text of an entry.
func (m Metadata) Get(key string) (text string, ok bool) {
	for _, e := range m.Entries {
		if e.Key == key {
			text, ok = e.Text, true
		}
	}
	return text, ok
}

// Infotext is the text in the web UI's format, "" if the file has none: that of its EXIF comment, else of a PNG's "parameters",
// else what NovelAI says in its own.
func (m Metadata) Infotext() string {
	if text, _ := m.Get(userComment); text != "" {
		return text
	}
	if text, ok := m.Get(parameters); ok {
		return text
	}
	return m.novelAI()
}

// Insert puts a text into a picture file where the web UI and other tools look for it: under the key "parameters" of PNG, in the
// EXIF comment of JPEG and WebP. An empty text leaves the file as it is. A text that stands there already is not looked for.
func Insert(file []byte, text string) ([]byte, error) {
	if text == "" {
		return file, nil
	}
	switch {
	case isPNG(file):
		return insertPNG(file, text)
	case isJPEG(file):
		return insertJPEG(file, text)
	case isWebP(file):
		return insertWebP(file, text)
	}
	return nil, ErrFormat
}

// Extract reads the texts of a picture file, in bounded memory and without decoding the picture. A file that ends early
// gives what it has.
func Extract(r io.Reader) (Metadata, error) {
	b := bufio.NewReader(r)
	head, err := b.Peek(12)
	if err != nil && err != io.EOF {
		return Metadata{}, fmt.Errorf("infotext: %w", err)
	}
	e := extraction{r: b, room: maxTexts}
	switch {
	case isPNG(head):
		err = e.png()
	case isJPEG(head):
		err = e.jpeg()
	case isWebP(head):
		err = e.webp()
	default:
		return Metadata{}, ErrFormat
	}
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return Metadata{}, fmt.Errorf("infotext: %w", err)
	}
	return e.found, nil
}

// extraction reads a file.
type extraction struct {
	r     *bufio.Reader
	room  int // for texts
	found Metadata
}

// bytes reads the next n bytes.
func (e *extraction) bytes(n int) ([]byte, error) {
	body := make([]byte, n)
	_, err := io.ReadFull(e.r, body)
	return body, err
}

// body reads a part of the file that may have text, or nothing if it is too long.
func (e *extraction) body(n int64) ([]byte, error) {
	if n > maxText || n > int64(e.room) {
		return nil, e.skip(n)
	}
	return e.bytes(int(n))
}

func (e *extraction) skip(n int64) error {
	_, err := io.CopyN(io.Discard, e.r, n)
	return err
}

// add keeps a text, if there is room for it.
func (e *extraction) add(key, text string) {
	if len(text) <= e.room {
		e.room -= len(key) + len(text)
		e.found.Entries = append(e.found.Entries, Entry{key, text})
	}
}

func isPNG(head []byte) bool  { return bytes.HasPrefix(head, []byte(pngSignature)) }
func isJPEG(head []byte) bool { return bytes.HasPrefix(head, []byte{0xff, 0xd8, 0xff}) }
func isWebP(head []byte) bool {
	return len(head) >= 12 && string(head[:4]) == "RIFF" && string(head[8:12]) == "WEBP"
}
