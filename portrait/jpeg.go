package portrait

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"sort"
)

// MaxJPEG is what LinkedIn takes, in bytes.
const MaxJPEG = 8 << 20

// JPEG is the file of a picture, of the highest quality that fits into a number of bytes, 0 meaning MaxJPEG. It has no EXIF, and so
// nothing about where and with what it was made.
func JPEG(img image.Image, most int) ([]byte, error) {
	if most == 0 {
		most = MaxJPEG
	}
	var err error
	encode := func(quality int) []byte {
		var b bytes.Buffer
		if e := jpeg.Encode(&b, img, &jpeg.Options{Quality: quality}); e != nil {
			err = e
		}
		return b.Bytes()
	}
	if best := encode(100); len(best) <= most || err != nil {
		return best, err
	}
	lost := sort.Search(99, func(lost int) bool { return len(encode(99-lost)) <= most }) // the least
	if err == nil && lost == 99 {
		size := img.Bounds().Size()
		err = fmt.Errorf("portrait: a JPEG of %d×%d pixels does not fit into %d bytes: make it smaller", size.X, size.Y, most)
	}
	if err != nil {
		return nil, err
	}
	return encode(99 - lost), nil
}
