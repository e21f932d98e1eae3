package portrait

import (
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/atelier-go/atelier/internal/atomicfile"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sd"
)

// Regularise draws pictures of a request that does not name the person, such as "photo of a man", into a folder, each with the prompt
// as its caption, so that in a training they keep what other people look like: DataSet.Others. The loop over it gets the number
// of pictures that are there. Those of before stay, so that it goes on where it was stopped; pictures of another prompt are drawn anew.
func Regularise(ctx context.Context, pipe *sd.Pipeline, dir string, r sd.Request, pictures int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		if err := checkRegularise(r, pictures); err != nil {
			yield(0, fmt.Errorf("portrait: %w", err))
			return
		}
		if err := os.MkdirAll(dir, 0o777); err != nil {
			yield(0, fmt.Errorf("portrait: %w", err))
			return
		}
		first := r.Seed
		for i := range pictures {
			r.Seed = first + int64(i)
			if err := drawOther(ctx, pipe, filepath.Join(dir, fmt.Sprintf("%03d", i+1)), r); err != nil {
				yield(i, err)
				return
			}
			if !yield(i+1, nil) {
				return
			}
		}
	}
}

func checkRegularise(r sd.Request, pictures int) error {
	switch {
	case pictures < 1 || pictures > MaxPhotos:
		return invalid.Field("pictures", pictures, "1 to %d", MaxPhotos)
	case strings.TrimSpace(r.Prompt) == "":
		return invalid.Field("Request.Prompt", r.Prompt, "what the person is to the model: photo of a man")
	case strings.ContainsAny(r.Prompt, "\r\n"):
		return invalid.Field("Request.Prompt", r.Prompt, "one line, as a caption has it")
	case r.Seed < 0 || r.BatchSize > 1:
		return invalid.Field("Request.Seed", r.Seed, "a number from 0, and one picture at a time: each has its own")
	}
	return nil
}

// drawOther draws a picture, unless it is there. Its caption comes last, and says that it is whole.
func drawOther(ctx context.Context, pipe *sd.Pipeline, base string, r sd.Request) error {
	caption := []byte(r.Prompt + "\n")
	if there, err := os.ReadFile(base + ".txt"); err == nil && string(there) == string(caption) {
		if _, err := os.Stat(base + ".png"); err == nil {
			return nil
		}
	}
	result, err := pipe.Generate(ctx, r)
	if err != nil {
		return err
	}
	if err := result.Pictures[0].Save(base + ".png"); err != nil {
		return err
	}
	if err := atomicfile.WriteFile(base+".txt", caption); err != nil {
		return fmt.Errorf("portrait: %w", err)
	}
	return nil
}
