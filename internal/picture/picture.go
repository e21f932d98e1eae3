// Package picture reads pictures from strangers' hands, as Pillow shows them: JPEG, PNG, WebP, BMP, TIFF and the first frame of
// a GIF, told by their contents, never by their names.
//
// [Open] looks at the header alone. [File.Decode] makes 8-bit red, green, blue and alpha, not premultiplied, in memory that is
// reserved beforehand from one budget for the whole process, so that no file, however it was made, takes much more than
// [Memory], or half as much again where it has to be turned. [Orient] turns a picture upright, [Resample] scales it and [Part] is a part.
// [Tiles] cuts one into parts and joins them, [Arrange] divides several into a sheet.
//
//	f, err := picture.Open(path, picture.Limits{})
//	…
//	defer f.Close() // gives the memory back
//	img, err := f.Decode(ctx)
//	img = picture.Orient(img, f.Orientation)
package picture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"runtime"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/sync/semaphore"

	"github.com/atelier-go/atelier/internal/openfile"
)

// Memory is how many bytes all decoders of the process may take together: a photo of 97 megapixels.
const Memory = 512 << 20

// memory is what is left of it.
var memory = semaphore.NewWeighted(Memory)

// Limits bound what a picture may cost. The zero value allows what [Memory] allows.
type Limits struct {
	// Memory is the most bytes that decoding may take; 0, and anything above, means [Memory].
	Memory int64
}

func (l Limits) memory() int64 {
	if l.Memory > 0 {
		return min(l.Memory, Memory)
	}
	return Memory
}

// Extensions are those of the formats that are read, in lower case.
var Extensions = []string{".bmp", ".gif", ".jfif", ".jif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}

// Header is what the beginning of a file tells.
type Header struct {
	// Format is "jpeg", "png", "webp", "bmp", "tiff" or "gif".
	Format string
	// Width and Height are in pixels, as stored; see [Turned].
	Width, Height int
	// Orientation is how to turn the stored picture upright, by EXIF's numbers: 1, as stored, to 8. See [Orient].
	Orientation int
	// Notes say what of the file is not shown.
	Notes []string
}

// layout is a header and how its format is decoded.
type layout struct {
	Header
	memory int64 // bytes that decode takes, its result included
	decode func(*io.SectionReader) (*image.NRGBA, error)
}

// pixels is width × height without overflow: sides are at most 2³¹.
func (l *layout) pixels() int64 { return int64(l.Width) * int64(l.Height) }

// formats are told by how their files begin; ? stands for any byte.
var formats = []struct {
	magic string
	read  func(*io.SectionReader) (layout, error)
}{
	{"\xff\xd8", readJPEG},
	{"\x89PNG\r\n\x1a\n", readPNG},
	{"RIFF????WEBP", readWebP},
	{"BM", readBMP},
	{"II*\x00", readTIFF},
	{"MM\x00*", readTIFF},
	{"GIF8?a", readGIF},
}

// File is an open picture. Its methods must not be called concurrently.
type File struct {
	Header
	// Info is that of the open file; nil for [New].
	Info   os.FileInfo
	layout layout
	name   string
	in     *io.SectionReader
	closer io.Closer
	held   int64         // bytes of the budget
	idle   chan struct{} // closed when no decoder runs
}

// Open opens the picture at path, a regular file, and reads its header. Errors name the path and what to do.
func Open(path string, l Limits) (*File, error) {
	in, err := openfile.Open(path)
	if err != nil {
		return nil, err
	}
	f, err := open(in, path, l)
	if err != nil {
		in.Close()
		return nil, err
	}
	return f, nil
}

// Upright is the picture at path as people see it. Errors name the path and what to do.
func Upright(ctx context.Context, path string, l Limits) (*image.NRGBA, error) {
	f, err := Open(path, l)
	if err != nil {
		return nil, err
	}
	return f.upright(ctx)
}

// upright is the picture as people see it, with which the file is done.
func (f *File) upright(ctx context.Context) (*image.NRGBA, error) {
	defer f.Close()
	img, err := f.Decode(ctx)
	if err != nil {
		return nil, err
	}
	return Orient(img, f.Orientation), nil
}

func open(in *os.File, path string, l Limits) (*File, error) {
	info, err := in.Stat()
	if err != nil {
		return nil, err
	}
	f, err := New(in, info.Size(), l)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f.Info, f.name, f.closer = info, path+": ", in
	return f, nil
}

// New reads the header of a picture of size bytes, which r must serve until the file is closed.
func New(r io.ReaderAt, size int64, l Limits) (*File, error) {
	in := io.NewSectionReader(r, 0, size)
	var found layout
	err := guard(func() (err error) {
		found, err = read(in)
		return err
	})
	if err != nil {
		return nil, explain(err)
	}
	if found.Width < 1 || found.Height < 1 {
		return nil, explain(errors.New("no pixels"))
	}
	if found.memory > l.memory() || found.pixels() > Memory {
		return nil, &TooLargeError{found.Width, found.Height, found.memory, l.memory()}
	}
	if turned, limit := 2*4*found.pixels(), l.memory()*3/2; found.Orientation > 1 && turned > limit { // it is there twice then
		return nil, &TooLargeError{found.Width, found.Height, turned, limit}
	}
	idle := make(chan struct{})
	close(idle)
	return &File{Header: found.Header, layout: found, in: in, closer: io.NopCloser(nil), idle: idle}, nil
}

func read(in *io.SectionReader) (layout, error) {
	var head [16]byte
	n, err := in.ReadAt(head[:], 0)
	if err != nil && err != io.EOF {
		return layout{}, err
	}
	if n == 0 {
		return layout{}, errEmpty
	}
	for _, f := range formats {
		if begins(head[:n], f.magic) {
			l, err := f.read(in)
			l.Orientation = max(1, l.Orientation)
			return l, err
		}
	}
	return layout{}, foreign(head[:n])
}

func begins(head []byte, magic string) bool {
	if len(head) < len(magic) {
		return false
	}
	for i, c := range []byte(magic) {
		if c != '?' && head[i] != c {
			return false
		}
	}
	return true
}

// Decode makes the picture, as stored, in memory that stays reserved until the file is closed. It waits while other pictures
// hold what it needs, so whoever wants several at once opens the second when the first is closed. When ctx ends it returns
// at once, and what a decoder holds is given back when that ends.
func (f *File) Decode(ctx context.Context) (*image.NRGBA, error) {
	if err := f.reserve(ctx); err != nil {
		return nil, err
	}
	var img *image.NRGBA
	var err error
	idle := make(chan struct{})
	f.idle = idle
	go func() {
		defer close(idle)
		err = guard(func() (err error) {
			img, err = f.layout.decode(io.NewSectionReader(&patient{ctx, f.in}, 0, f.in.Size()))
			return err
		})
	}()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-idle:
	}
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, fmt.Errorf("%s%w", f.name, explain(err))
	}
	return img, nil
}

// collect is how many bytes are worth a collection of garbage beforehand: what earlier pictures left is not counted.
const collect = 64 << 20

func (f *File) reserve(ctx context.Context) error {
	if f.held == 0 {
		if err := memory.Acquire(ctx, f.layout.memory); err != nil {
			return context.Cause(ctx)
		}
		f.held = f.layout.memory
	}
	if f.held > collect {
		runtime.GC()
	}
	return nil
}

// Close closes the file and gives its memory back: the picture must not be kept where that matters. Closing twice is harmless.
func (f *File) Close() error {
	select {
	case <-f.idle:
		return f.release()
	default: // a decoder that nobody waits for any more
		go func() {
			<-f.idle
			f.release()
		}()
		return nil
	}
}

func (f *File) release() error {
	memory.Release(f.held)
	closer := f.closer
	f.held, f.closer = 0, io.NopCloser(nil)
	return closer.Close()
}

// patient serves a reader until the context ends.
type patient struct {
	ctx context.Context
	in  io.ReaderAt
}

func (p *patient) ReadAt(b []byte, at int64) (int, error) {
	if p.ctx.Err() != nil {
		return 0, context.Cause(p.ctx)
	}
	return p.in.ReadAt(b, at)
}

// guard turns a panic of a decoder on hostile bytes into an error.
func guard(decode func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("decoder failed: %v", r)
		}
	}()
	return decode()
}

// TooLargeError says that decoding a picture would take more memory than is allowed.
type TooLargeError struct {
	Width, Height int   // pixels
	Need, Limit   int64 // bytes
}

// Error implements error.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("%dx%d pixels, which take %d MB to decode, more than the limit of %d MB: scale it down, or save it as an ordinary JPEG", e.Width, e.Height, e.Need>>20, e.Limit>>20)
}

// ErrFormat is wrapped by errors about files in a format that is not read.
var ErrFormat = errors.New("not a format that is read")

var errEmpty = errors.New("the file is empty: its download or copy failed; replace or remove it")

// foreign says what a file is that is none of the formats.
func foreign(head []byte) error {
	for _, f := range []struct{ magic, what string }{
		{"????ftypavi", "AVIF"}, {"????ftyphe", "HEIC, as iPhones store photos"}, {"????ftypmif1", "HEIF"}, {"????ftypmsf1", "HEIF"},
		{"\xff\x0a", "JPEG XL"}, {"\x00\x00\x00\x0cJXL ", "JPEG XL"}, {"\x00\x00\x00\x0cjP  ", "JPEG 2000"}, {"8BPS", "a Photoshop document"}, {"II+\x00", "a BigTIFF"}, {"MM\x00+", "a BigTIFF"},
	} {
		if begins(head, f.magic) {
			return fmt.Errorf("it is %s, %w: export it as JPEG or PNG", f.what, ErrFormat)
		}
	}
	if what := failedCopy(head); what != "" {
		return fmt.Errorf("it is %s, %w: its download or copy failed; get it again or remove it", what, ErrFormat)
	}
	return fmt.Errorf("it is no JPEG, PNG, WebP, BMP, TIFF or GIF, whatever its name says, and %w: convert or remove it", ErrFormat)
}

// failedCopy says what a file is that has come in place of a picture; "" if it may be one of another format.
func failedCopy(head []byte) string {
	text := bytes.ToLower(bytes.TrimSpace(bytes.TrimPrefix(head, []byte("\ufeff"))))
	switch {
	case bytes.HasPrefix(text, []byte("<!doctype")), bytes.HasPrefix(text, []byte("<html")), bytes.HasPrefix(text, []byte("<head")):
		return "a web page"
	case bytes.HasPrefix(text, []byte(`{"`)), bytes.HasPrefix(text, []byte("[{")):
		return "a JSON answer"
	case bytes.HasPrefix(text, []byte("version http")):
		return "a Git LFS pointer"
	case len(bytes.Trim(head, "\x00")) == 0:
		return "nothing but zeros"
	}
	return ""
}

// explain adds to a decoder's error what to do.
func explain(err error) error {
	switch _, large := errors.AsType[*TooLargeError](err); {
	case large || errors.Is(err, ErrFormat) || errors.Is(err, errEmpty):
		return err
	case unsupported(err):
		return fmt.Errorf("%w; save it as an ordinary JPEG or PNG", err)
	}
	return fmt.Errorf("%w; the file is damaged or cut off: save it again or remove it", err)
}

var errVariant = errors.New("this variant of the format is not read")

// unsupported reports whether a decoder understood the file but not this variant of its format.
func unsupported(err error) bool {
	_, inJPEG := errors.AsType[jpeg.UnsupportedError](err)
	_, inPNG := errors.AsType[png.UnsupportedError](err)
	_, inTIFF := errors.AsType[tiff.UnsupportedError](err)
	return inJPEG || inPNG || inTIFF || errors.Is(err, bmp.ErrUnsupported) || errors.Is(err, errVariant)
}

// Decode makes the picture that data holds, upright, without keeping its memory reserved: for pictures that stay.
func Decode(ctx context.Context, data []byte, l Limits) (*image.NRGBA, error) {
	f, err := New(bytes.NewReader(data), int64(len(data)), l)
	if err != nil {
		return nil, err
	}
	return f.upright(ctx)
}

// animated is the note of pictures that move.
const animated = "it is animated: its first frame is used"

// plain makes a decoder of the standard library's kind one of ours.
func plain(decode func(io.Reader) (image.Image, error)) func(*io.SectionReader) (*image.NRGBA, error) {
	return func(in *io.SectionReader) (*image.NRGBA, error) {
		img, err := decode(in)
		if err != nil {
			return nil, err
		}
		return toNRGBA(img), nil
	}
}
