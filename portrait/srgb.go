package portrait

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// The colours of drawn pictures are sRGB, which files that do not say so may be taken not to be.

// jpegSRGB is an EXIF segment that says it, and nothing else: ColorSpace is 1.
var jpegSRGB = func() []byte {
	tiff := []byte("II*\x00\x08\x00\x00\x00")
	entry := func(tag, kind uint16, value uint32) {
		tiff = binary.LittleEndian.AppendUint16(tiff, 1) // entries
		tiff = binary.LittleEndian.AppendUint16(tiff, tag)
		tiff = binary.LittleEndian.AppendUint16(tiff, kind)
		tiff = binary.LittleEndian.AppendUint32(tiff, 1) // values
		tiff = binary.LittleEndian.AppendUint32(tiff, value)
		tiff = binary.LittleEndian.AppendUint32(tiff, 0) // no further directory
	}
	const long, short = 4, 3
	entry(0x8769, long, 26) // where the EXIF directory is: behind this one
	entry(0xa001, short, 1) // ColorSpace
	body := append([]byte("Exif\x00\x00"), tiff...)
	return append(binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(2+len(body))), body...)
}()

// withSRGB says in a JPEG or PNG file that its colours are sRGB. Anything else stays as it is.
func withSRGB(file []byte) []byte {
	const jpegStart, pngHead = 2, 8 + 25 // the latter with the chunk IHDR
	switch {
	case bytes.HasPrefix(file, []byte("\xff\xd8")):
		return bytes.Join([][]byte{file[:jpegStart], jpegSRGB, file[jpegStart:]}, nil)
	case bytes.HasPrefix(file, []byte("\x89PNG\r\n\x1a\n")) && len(file) > pngHead:
		chunk := []byte("\x00\x00\x00\x01sRGB\x00") // perceptual
		chunk = binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))
		return bytes.Join([][]byte{file[:pngHead], chunk, file[pngHead:]}, nil)
	}
	return file
}
