package sd

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/png"
	"io"

	"github.com/atelier-go/atelier/internal/atomicfile"
)

// Picture is a finished picture.
type Picture struct {
	Image    *image.NRGBA
	Seed     int64  // with which it is made again, alone
	Infotext string // how it was made, in the web UI's format; "" says nothing
}

// Encode writes the picture as PNG with its infotext under the key "parameters", where the web UI and every tool that reads
// its pictures look: as a tEXt chunk if the text is Latin-1, else as an uncompressed iTXt chunk. An empty infotext
// writes no chunk.
func (p Picture) Encode(w io.Writer) error {
	var b bytes.Buffer
	if err := png.Encode(&b, p.Image); err != nil {
		return fmt.Errorf("sd: encoding PNG: %w", err)
	}
	// The signature and the IHDR chunk have a fixed length; text belongs before the image data.
	const header = 8 + 4 + 4 + 13 + 4
	head, rest := b.Bytes()[:header], b.Bytes()[header:]
	var text []byte
	if p.Infotext != "" {
		text = textChunk("parameters", p.Infotext)
	}
	for _, part := range [][]byte{head, text, rest} {
		if _, err := w.Write(part); err != nil {
			return fmt.Errorf("sd: writing PNG: %w", err)
		}
	}
	return nil
}

// textChunk is a PNG text chunk: PNG specification, third edition, sections 11.3.3.2 and 11.3.3.4.
func textChunk(key, text string) []byte {
	kind, body := "tEXt", append([]byte(key), 0)
	if latin, ok := latin1(text); ok {
		body = append(body, latin...)
	} else {
		kind = "iTXt"
		body = append(body, 0, 0, 0, 0) // uncompressed, method 0, no language, no translated key
		body = append(body, text...)
	}
	chunk := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	chunk = append(chunk, kind...)
	chunk = append(chunk, body...)
	return binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))
}

// latin1 converts text to ISO 8859-1, if it can be.
func latin1(text string) ([]byte, bool) {
	var out []byte
	for _, r := range text {
		if r > 0xFF || r == 0 {
			return nil, false
		}
		out = append(out, byte(r))
	}
	return out, true
}

// Save writes the picture with [Picture.Encode] to a temporary file beside path and renames it, so that path holds either
// what it held before or the whole new picture.
func (p Picture) Save(path string) error {
	f, err := atomicfile.Create(path)
	if err != nil {
		return fmt.Errorf("sd: saving %s: %w; choose a folder that exists and can be written", path, err)
	}
	defer f.Abort()
	if err := p.Encode(f); err != nil {
		return fmt.Errorf("sd: saving %s: %w", path, err)
	}
	if err := f.Commit(); err != nil {
		return fmt.Errorf("sd: saving %s: %w", path, err)
	}
	return nil
}
