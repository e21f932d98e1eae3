package infotext

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// PNG specification, third edition: chunks in section 5.3, texts in 11.3.3.
const (
	pngSignature = "\x89PNG\r\n\x1a\n"
	pngHeader    = len(pngSignature) + 4 + 4 + 13 + 4 // with the IHDR chunk, whose length is fixed
)

// insertPNG puts the text behind the header, as a tEXt chunk if it is Latin-1, else as an uncompressed iTXt chunk.
func insertPNG(file []byte, text string) ([]byte, error) {
	if len(file) < pngHeader {
		return nil, errors.New("infotext: the PNG file has no header")
	}
	kind, body := "tEXt", []byte(parameters+"\x00")
	if latin, ok := toLatin1(text); ok {
		body = append(body, latin...)
	} else {
		kind = "iTXt"
		body = append(body, 0, 0, 0, 0) // uncompressed, method 0, no language, no translated key
		body = append(body, text...)
	}
	out := append(make([]byte, 0, len(file)+len(body)+12), file[:pngHeader]...)
	out = binary.BigEndian.AppendUint32(out, uint32(len(body)))
	out = append(out, kind...)
	out = append(out, body...)
	out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[pngHeader+4:]))
	return append(out, file[pngHeader:]...), nil
}

// png reads the text chunks of a PNG file, wherever they stand. Checksums are not looked at.
func (e *extraction) png() error {
	if _, err := e.bytes(len(pngSignature)); err != nil {
		return err
	}
	for {
		head, err := e.bytes(8)
		if err != nil {
			return err
		}
		n := int64(binary.BigEndian.Uint32(head))
		switch kind := string(head[4:]); kind {
		case "tEXt", "zTXt", "iTXt", "eXIf":
			body, err := e.body(n)
			if err != nil {
				return err
			}
			e.pngText(kind, body)
		case "IEND":
			return nil
		case "IHDR":
			body, err := e.body(n)
			if err != nil {
				return err
			}
			if len(body) >= 8 {
				e.found.Width, e.found.Height = int(binary.BigEndian.Uint32(body)), int(binary.BigEndian.Uint32(body[4:]))
			}
		default:
			if err := e.skip(n); err != nil {
				return err
			}
		}
		if err := e.skip(4); err != nil { // the checksum
			return err
		}
	}
}

// pngText reads a chunk that has text.
func (e *extraction) pngText(kind string, body []byte) {
	if kind == "eXIf" {
		e.exif(body)
		return
	}
	key, body, ok := bytes.Cut(body, []byte{0})
	if !ok {
		return
	}
	compressed := kind == "zTXt"
	if kind == "iTXt" {
		if len(body) < 2 {
			return
		}
		compressed = body[0] == 1
		_, body, _ = bytes.Cut(body[2:], []byte{0}) // the language
		_, body, _ = bytes.Cut(body, []byte{0})     // the translated key
	} else if compressed && len(body) > 0 {
		body = body[1:] // the method
	}
	if compressed {
		body = e.inflate(body)
	}
	text := string(body)
	if kind != "iTXt" {
		text = fromLatin1(body)
	}
	e.add(fromLatin1(key), text)
}

// inflate decompresses a text, or gives nothing if it is damaged or too long.
func (e *extraction) inflate(body []byte) []byte {
	z, err := zlib.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(z, maxText+1))
	if err != nil || len(text) > maxText {
		return nil
	}
	return text
}

// toLatin1 converts text to ISO 8859-1, if it can be.
func toLatin1(text string) ([]byte, bool) {
	var out []byte
	for _, r := range text {
		if r > 0xFF || r == 0 {
			return nil, false
		}
		out = append(out, byte(r))
	}
	return out, true
}

func fromLatin1(text []byte) string {
	out := make([]rune, len(text))
	for i, b := range text {
		out[i] = rune(b)
	}
	return string(out)
}
