package train

import (
	"context"
	"fmt"

	"github.com/atelier-go/atelier/internal/rng"
	"github.com/atelier-go/atelier/lora/dataset"
	"github.com/atelier-go/atelier/vae"
)

// channels is the number of them in latents.
func (r *run) channels() int { return r.networks.VAE.Config().LatentChannels }

// assemble makes the batch that the trainer gets, but for noise and dropout. Latents that are not cached are drawn.
func (r *run) assemble(ctx context.Context, batch dataset.Batch, draw *rng.Torch) (Batch, error) {
	config := r.networks.VAE.Config()
	factor := config.ScaleFactor()
	b := Batch{Samples: len(batch.Items), Height: batch.Bucket.H / factor, Width: batch.Bucket.W / factor}
	masks := make([][]float32, len(batch.Items))
	masked := false
	for i, item := range batch.Items {
		z, err := r.encoded(ctx, item, draw)
		if err != nil {
			return b, err
		}
		for _, v := range z.latents {
			b.Latents = append(b.Latents, v*float32(config.ScalingFactor))
		}
		b.IDs = append(b.IDs, r.tokens(item.Caption)...)
		b.Weights = append(b.Weights, item.LossWeight)
		masks[i] = z.mask
		masked = masked || z.mask != nil
	}
	if masked {
		for _, mask := range masks {
			if mask == nil {
				mask = shrink(nil, b.Height, b.Width, factor)
			}
			b.Mask = append(b.Mask, mask...)
		}
	}
	return b, nil
}

// encoded is the latents of an item and its mask.
func (r *run) encoded(ctx context.Context, item dataset.Item, draw *rng.Torch) (encoded, error) {
	if r.latents != nil {
		if item.Flip {
			return r.latents[item.Picture][1], nil
		}
		return r.latents[item.Picture][0], nil
	}
	s, err := item.Load(ctx)
	if err != nil {
		return encoded{}, fmt.Errorf("lora: %w", err)
	}
	z, err := r.encoder.encode(ctx, vae.FromImage(s.Image), item.Bucket, draw)
	return encoded{z, r.encoder.shrink(s.Mask, item.Bucket)}, err
}

// tokens are the ids of a caption, cut off where the text encoder ends.
func (r *run) tokens(caption string) []int32 {
	ids, ok := r.ids[caption]
	if !ok {
		ids, _ = CaptionIDs(r.networks.Tokenizer, caption, r.MaxTokenLength) // which was checked
		r.ids[caption] = ids
	}
	return ids
}

// captionTokens is how many tokens of a caption are learned.
func (r *run) captionTokens() int {
	return (r.networks.Tokenizer.MaxLength() - 2) * max(1, r.MaxTokenLength/chunkTokens) // but the first and the last of each chunk
}

// learned is what is learned of a caption: as its tokens spell it where it is cut off, else as it is.
func (r *run) learned(caption string) string {
	if ids, n := r.networks.Tokenizer.Encode(caption), r.captionTokens(); len(ids) > n {
		return r.networks.Tokenizer.Decode(ids[:n])
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
