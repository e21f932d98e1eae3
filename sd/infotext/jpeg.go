package infotext

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
)

// insertJPEG puts an EXIF segment behind the start of the file.
func insertJPEG(file []byte, text string) ([]byte, error) {
	exif := exifHeader + string(newExif(text))
	if len(exif)+2 > 0xffff {
		return nil, errors.New("infotext: the text is too long for a JPEG file, which takes about 32,000 characters; choose PNG")
	}
	segment := binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(len(exif)+2))
	return slices.Concat(file[:2], segment, []byte(exif), file[2:]), nil
}

// jpeg reads the EXIF segments of a JPEG file, up to its picture.
func (e *extraction) jpeg() error {
	if _, err := e.bytes(2); err != nil {
		return err
	}
	for {
		head, err := e.bytes(2)
		if err != nil || head[0] != 0xff {
			return err
		}
		marker := head[1]
		if marker == 0xff { // filling
			if err := e.r.UnreadByte(); err != nil {
				return err
			}
			continue
		}
		if marker == 0xda || marker == 0xd9 {
			return nil
		}
		if head, err = e.bytes(2); err != nil {
			return err
		}
		n := int64(binary.BigEndian.Uint16(head)) - 2
		body, err := e.body(max(n, 0))
		if err != nil {
			return err
		}
		if marker == 0xe1 && bytes.HasPrefix(body, []byte(exifHeader)) {
			e.exif(body)
		}
	}
}
