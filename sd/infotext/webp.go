package infotext

import (
	"encoding/binary"
	"errors"
	"slices"
)

// WebP Container Specification: a RIFF file whose first chunk, VP8X, says what else there is.
const (
	webpExif  = 1 << 3
	webpAlpha = 1 << 4
)

// insertWebP puts an EXIF chunk at the end of the file, and the chunk that announces it at the start.
func insertWebP(file []byte, text string) ([]byte, error) {
	chunks := file[12:]
	if len(chunks) < 8 {
		return nil, errors.New("infotext: the WebP file has no picture")
	}
	var head []byte
	if string(chunks[:4]) == "VP8X" && len(chunks) >= 18 {
		head, chunks = slices.Clone(chunks[:18]), chunks[18:]
		head[8] |= webpExif
	} else {
		width, height, alpha, ok := webpSize(chunks)
		if !ok {
			return nil, errors.New("infotext: the size of the WebP picture cannot be read")
		}
		head = webpHeader(width, height, alpha)
	}
	out := slices.Concat(file[:12], head, chunks, riffChunk("EXIF", newExif(text)))
	binary.LittleEndian.PutUint32(out[4:], uint32(len(out)-8))
	return out, nil
}

// webpHeader is the chunk that says how large the picture is and that it has EXIF.
func webpHeader(width, height int, alpha bool) []byte {
	body := make([]byte, 10)
	body[0] = webpExif
	if alpha {
		body[0] |= webpAlpha
	}
	for i := range 3 {
		body[4+i], body[7+i] = byte((width-1)>>(8*i)), byte((height-1)>>(8*i))
	}
	return riffChunk("VP8X", body)
}

func riffChunk(kind string, body []byte) []byte {
	chunk := binary.LittleEndian.AppendUint32([]byte(kind), uint32(len(body)))
	chunk = append(chunk, body...)
	if len(body)%2 == 1 {
		chunk = append(chunk, 0)
	}
	return chunk
}

// webpSize reads the size of a simple file's picture, RFC 6386 section 9.1 and RFC 9649 section 3.4.
func webpSize(chunk []byte) (width, height int, alpha, ok bool) {
	kind, body := string(chunk[:4]), chunk[8:]
	switch {
	case kind == "VP8 " && len(body) >= 10 && string(body[3:6]) == "\x9d\x01\x2a":
		return int(binary.LittleEndian.Uint16(body[6:])) & 0x3fff, int(binary.LittleEndian.Uint16(body[8:])) & 0x3fff, false, true
	case kind == "VP8L" && len(body) >= 5 && body[0] == 0x2f:
		bits := binary.LittleEndian.Uint32(body[1:])
		return int(bits&0x3fff) + 1, int(bits>>14&0x3fff) + 1, bits>>28&1 == 1, true
	}
	return 0, 0, false, false
}

// webp reads the EXIF chunk of a WebP file.
func (e *extraction) webp() error {
	if _, err := e.bytes(12); err != nil {
		return err
	}
	for {
		head, err := e.bytes(8)
		if err != nil {
			return err
		}
		n := int64(binary.LittleEndian.Uint32(head[4:]))
		if string(head[:4]) != "EXIF" {
			if err := e.skip(n + n%2); err != nil {
				return err
			}
			continue
		}
		body, err := e.body(n)
		if err != nil {
			return err
		}
		e.exif(body)
		if err := e.skip(n % 2); err != nil {
			return err
		}
	}
}
