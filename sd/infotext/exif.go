package infotext

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// EXIF 2.32: a TIFF file whose first directory points to another one, which has the comment. Its first eight bytes name its encoding.
const (
	tagExif        = 0x8769
	tagUserComment = 0x9286
	typeUndefined  = 7
	typeLong       = 4
	inUTF16        = "UNICODE\x00"
	inASCII        = "ASCII\x00\x00\x00"
)

// exifHeader stands before the TIFF file in JPEG files, and in some WebP files too.
const exifHeader = "Exif\x00\x00"

// newExif is a TIFF file, big-endian, that has nothing but the comment.
func newExif(text string) []byte {
	comment := []byte(inUTF16)
	for _, c := range utf16.Encode([]rune(text)) {
		comment = binary.BigEndian.AppendUint16(comment, c)
	}
	b := []byte("MM\x00\x2a\x00\x00\x00\x08")
	entry := func(tag, kind uint16, count, value uint32) {
		b = binary.BigEndian.AppendUint16(b, 1) // one entry in the directory
		b = binary.BigEndian.AppendUint16(b, tag)
		b = binary.BigEndian.AppendUint16(b, kind)
		b = binary.BigEndian.AppendUint32(b, count)
		b = binary.BigEndian.AppendUint32(b, value)
		b = binary.BigEndian.AppendUint32(b, 0) // no directory follows
	}
	const directory = 2 + 12 + 4
	entry(tagExif, typeLong, 1, 8+directory)
	entry(tagUserComment, typeUndefined, uint32(len(comment)), 8+2*directory)
	return append(b, comment...)
}

// exif reads the comment of a TIFF file.
func (e *extraction) exif(file []byte) {
	file = bytes.TrimPrefix(file, []byte(exifHeader))
	if len(file) < 8 {
		return
	}
	var order binary.ByteOrder = binary.BigEndian
	if string(file[:2]) == "II" {
		order = binary.LittleEndian
	}
	at := order.Uint32(file[4:])
	if _, exif, ok := tiffEntry(file, order, at, tagExif); ok {
		if comment, _, ok := tiffEntry(file, order, exif, tagUserComment); ok {
			e.add(userComment, commentText(comment))
		}
	}
}

// tiffEntry looks for an entry in the directory at an offset: its bytes, and its value if that is a number.
func tiffEntry(file []byte, order binary.ByteOrder, at uint32, tag uint16) (data []byte, value uint32, ok bool) {
	if int64(at)+2 > int64(len(file)) {
		return nil, 0, false
	}
	entries := file[at+2:]
	for range order.Uint16(file[at:]) {
		if len(entries) < 12 {
			return nil, 0, false
		}
		if order.Uint16(entries) == tag {
			count, value := int64(order.Uint32(entries[4:])), order.Uint32(entries[8:])
			from := int64(value)
			if count > 4 && from+count <= int64(len(file)) {
				data = file[from:][:count]
			}
			return data, value, true
		}
		entries = entries[12:]
	}
	return nil, 0, false
}

// commentText reads an EXIF comment. In which order UTF-16 has its bytes the standard leaves open: if more of the first bytes are
// zero than of the second, the greater comes first.
func commentText(comment []byte) string {
	code, text := string(comment[:min(8, len(comment))]), comment[min(8, len(comment)):]
	switch {
	case code == inASCII || code == "\x00\x00\x00\x00\x00\x00\x00\x00":
		return strings.TrimRight(toUTF8(text), "\x00")
	case code != inUTF16:
		return strings.TrimRight(toUTF8(comment), "\x00")
	}
	zeros := [2]int{}
	for i, b := range text {
		if b == 0 {
			zeros[i%2]++
		}
	}
	var order binary.ByteOrder = binary.BigEndian
	if zeros[1] > zeros[0] {
		order = binary.LittleEndian
	}
	units := make([]uint16, len(text)/2)
	for i := range units {
		units[i] = order.Uint16(text[2*i:])
	}
	return strings.Trim(string(utf16.Decode(units)), "\x00\ufeff")
}

// toUTF8 reads bytes as UTF-8, or else as Latin-1.
func toUTF8(text []byte) string {
	if utf8.Valid(text) {
		return string(text)
	}
	return fromLatin1(text)
}
