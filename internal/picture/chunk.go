package picture

import (
	"encoding/binary"
	"io"
)

// chunk is a named piece of a file.
type chunk struct {
	name     string
	at, size int64
}

func (c chunk) in(r io.ReaderAt) *io.SectionReader { return io.NewSectionReader(r, c.at, c.size) }

// maxChunks bounds how many are looked at.
const maxChunks = 1 << 16

// maxText bounds how much of a piece of metadata is read.
const maxText = 1 << 20

// bytes is the beginning of the chunk, as far as it is there.
func (c chunk) bytes(r io.ReaderAt) []byte {
	data, err := io.ReadAll(io.LimitReader(c.in(r), maxText))
	if err != nil {
		return nil
	}
	return data
}

// pngChunks lists the chunks of a PNG: big-endian length, name, data and four bytes of checksum.
func pngChunks(in *io.SectionReader) []chunk {
	return chunks(in, 8, in.Size(), func(head []byte) (name string, size, padding int64) {
		return string(head[4:]), int64(binary.BigEndian.Uint32(head)), 4
	})
}

// riffChunks lists the chunks from a place of a WebP to another: name, little-endian length and data padded to an even
// number of bytes.
func riffChunks(in *io.SectionReader, from, to int64) []chunk {
	return chunks(in, from, to, func(head []byte) (name string, size, padding int64) {
		size = int64(binary.LittleEndian.Uint32(head[4:]))
		return string(head[:4]), size, size & 1
	})
}

func chunks(in *io.SectionReader, from, to int64, parse func(head []byte) (name string, size, padding int64)) (all []chunk) {
	var head [8]byte
	for at := from; at+8 <= to && len(all) < maxChunks; {
		if _, err := in.ReadAt(head[:], at); err != nil {
			return all
		}
		name, size, padding := parse(head[:])
		at += 8
		all = append(all, chunk{name, at, min(size, to-at)})
		at += size + padding
	}
	return all
}

// find is the first chunk called name.
func find(all []chunk, name string) (chunk, bool) {
	for _, c := range all {
		if c.name == name {
			return c, true
		}
	}
	return chunk{}, false
}
