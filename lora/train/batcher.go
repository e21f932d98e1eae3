package train

import (
	"context"
	"fmt"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/internal/engine"
	"github.com/atelier-go/atelier/internal/rng"
	"github.com/atelier-go/atelier/lora/dataset"
	"github.com/atelier-go/atelier/vae"
)

// batcher makes batches for a trainer of those of a data set.
type batcher struct {
	encoder   *encoder
	latents   latents // nil if pictures are encoded each time they are used
	tokenizer *clip.Tokenizer
	chunks    int                // how many a caption has
	ids       map[string][]int32 // the token ids of captions that were met
}

// newBatcher makes one that reads no weights until the first picture is encoded.
func newBatcher(n *engine.Networks, c Config) (*batcher, error) {
	chunks, err := captionChunks(c.MaxTokenLength)
	return &batcher{encoder: newEncoder(c.Device, n), tokenizer: n.Tokenizer, chunks: chunks, ids: make(map[string][]int32)}, err
}

// cache encodes all pictures, so that no batch does; done is told of each.
func (b *batcher) cache(ctx context.Context, ds *dataset.Dataset, done func(n, total int)) (err error) {
	if b.latents, err = b.encoder.cacheLatents(ctx, ds, done); err != nil {
		return err
	}
	return b.encoder.Close()
}

// assemble makes the batch that the trainer gets, but for noise and dropout. Latents that are not cached are drawn.
func (b *batcher) assemble(ctx context.Context, batch dataset.Batch, draw *rng.Torch) (Batch, error) {
	config := b.encoder.networks.VAE.Config()
	factor := config.ScaleFactor()
	made := Batch{Samples: len(batch.Items), Height: batch.Bucket.H / factor, Width: batch.Bucket.W / factor}
	masks := make([][]float32, len(batch.Items))
	masked := false
	for i, item := range batch.Items {
		z, err := b.encoded(ctx, item, draw)
		if err != nil {
			return made, err
		}
		for _, v := range z.latents {
			made.Latents = append(made.Latents, v*float32(config.ScalingFactor))
		}
		made.IDs = append(made.IDs, b.tokens(item.Caption)...)
		made.Weights = append(made.Weights, item.LossWeight)
		masks[i] = z.mask
		masked = masked || z.mask != nil
	}
	if masked {
		for _, mask := range masks {
			if mask == nil {
				mask = shrink(nil, made.Height, made.Width, factor)
			}
			made.Mask = append(made.Mask, mask...)
		}
	}
	return made, nil
}

// encoded is the latents of an item and its mask.
func (b *batcher) encoded(ctx context.Context, item dataset.Item, draw *rng.Torch) (encoded, error) {
	if b.latents != nil {
		if item.Flip {
			return b.latents[item.Picture][1], nil
		}
		return b.latents[item.Picture][0], nil
	}
	s, err := item.Load(ctx)
	if err != nil {
		return encoded{}, fmt.Errorf("lora: %w", err)
	}
	z, err := b.encoder.encode(ctx, vae.FromImage(s.Image), item.Bucket, draw)
	return encoded{z, b.encoder.shrink(s.Mask, item.Bucket)}, err
}

// tokens are the ids of a caption, cut off where the text encoder ends.
func (b *batcher) tokens(caption string) []int32 {
	ids, ok := b.ids[caption]
	if !ok {
		ids = captionIDs(b.tokenizer, caption, b.chunks)
		b.ids[caption] = ids
	}
	return ids
}

// captionTokens is how many tokens of a caption are learned.
func (b *batcher) captionTokens() int {
	return (b.tokenizer.MaxLength() - 2) * b.chunks // but the first and the last of each chunk
}

// learned is what is learned of a caption: as its tokens spell it where it is cut off, else as it is.
func (b *batcher) learned(caption string) string {
	if ids, n := b.tokenizer.Encode(caption), b.captionTokens(); len(ids) > n {
		return b.tokenizer.Decode(ids[:n])
	}
	return caption
}

// shrink averages a mask of pixels over latents of factor×factor; without a mask it is ones.
func shrink(mask []float32, height, width, factor int) []float32 {
	small := make([]float32, height*width)
	for i := range small {
		if mask == nil {
			small[i] = 1
			continue
		}
		sum := float32(0)
		for y := range factor {
			row := mask[(i/width*factor+y)*width*factor+i%width*factor:]
			for _, v := range row[:factor] {
				sum += v
			}
		}
		small[i] = sum / float32(factor*factor)
	}
	return small
}
