package library

import (
	"bytes"
	"container/list"
	"context"
	"fmt"
	"image/jpeg"
	"os"
	"sync"

	"github.com/atelier-go/atelier/internal/picture"
	"github.com/atelier-go/atelier/invalid"
)

const (
	maxThumbnail  = 1024     // pixels of the longer side
	thumbnailRoom = 64 << 20 // bytes of thumbnails that are kept
	atOnce        = 2        // thumbnails that are made at the same time
)

// thumbnails are small pictures that were made, those used last.
type thumbnails struct {
	making chan struct{} // a place for each that is being made

	mu    sync.Mutex
	kept  map[string]*list.Element
	order list.List // the one used last first
	size  int
}

// thumbnail is a small picture.
type thumbnail struct {
	key  string
	file []byte
}

func (t *thumbnails) init() {
	t.making, t.kept = make(chan struct{}, atOnce), make(map[string]*list.Element)
}

// Thumbnail is a picture of the gallery as a JPEG, of which the longer side has so many pixels, up to 1024. It is made when somebody asks
// for it, and kept for a while.
func (l *Library) Thumbnail(ctx context.Context, name string, side int) ([]byte, error) {
	if side < 16 || side > maxThumbnail {
		return nil, fmt.Errorf("library: %w", invalid.Field("side", side, "16 to %d pixels", maxThumbnail))
	}
	p, err := l.find(name)
	if err != nil {
		return nil, err
	}
	return l.gallery.thumbnails.get(ctx, fmt.Sprint(side, p.Time.UnixNano(), p.Size, name), l.gallery.path(name), side)
}

// PreviewPicture is the picture beside a model's file, File.Preview, as a JPEG like Thumbnail's.
func (l *Library) PreviewPicture(ctx context.Context, f File, side int) ([]byte, error) {
	info, err := os.Stat(f.Preview)
	if err != nil {
		return nil, &NotFoundError{Kind: "preview of", Name: f.Name}
	}
	return l.gallery.thumbnails.get(ctx, fmt.Sprint(side, info.ModTime().UnixNano(), info.Size(), f.Preview), f.Preview, side)
}

// get is the thumbnail of a key, which is made if it is not kept.
func (t *thumbnails) get(ctx context.Context, key, path string, side int) ([]byte, error) {
	if file := t.find(key); file != nil {
		return file, nil
	}
	select {
	case t.making <- struct{}{}:
		defer func() { <-t.making }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if file := t.find(key); file != nil { // somebody else wanted it too
		return file, nil
	}
	file, err := shrink(ctx, path, side)
	if err != nil {
		return nil, fmt.Errorf("library: a thumbnail: %w", err)
	}
	t.keep(key, file)
	return file, nil
}

func (t *thumbnails) find(key string) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.kept[key]
	if e == nil {
		return nil
	}
	t.order.MoveToFront(e)
	return e.Value.(*thumbnail).file
}

// keep keeps a thumbnail, and drops those that nobody has asked for the longest.
func (t *thumbnails) keep(key string, file []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kept[key] != nil {
		return
	}
	t.kept[key] = t.order.PushFront(&thumbnail{key, file})
	for t.size += len(file); t.size > thumbnailRoom; {
		last := t.order.Remove(t.order.Back()).(*thumbnail)
		delete(t.kept, last.key)
		t.size -= len(last.file)
	}
}

// shrink makes a JPEG of a picture with a longer side of so many pixels; a smaller picture stays as large as it is.
func shrink(ctx context.Context, path string, side int) ([]byte, error) {
	img, err := picture.Upright(ctx, path, picture.Limits{})
	if err != nil {
		return nil, err
	}
	img = picture.Within(img, side, picture.Box, 4)
	picture.OverWhite(img)
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 85}); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
