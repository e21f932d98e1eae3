package cuda

import "fmt"

// Need is what some work with Stable Diffusion 1.5 takes of a card in half precision, by the plans of this package: parameters, arena, and
// of a training, of rank 32 of both networks, the factors with their gradients and moments. The driver takes some 0.4 GB besides.
type Need struct {
	Side          int  // pixels of a picture's sides
	Batch         int  // pictures at once
	Training      bool // a training step, and not drawing
	Checkpointing bool // of the training: computing anew instead of keeping
	Bytes         int64
}

// Needs are what people ask first: which sizes and batches a card has room for.
func Needs() []Need {
	return []Need{
		{Side: 512, Batch: 1, Bytes: 2372e6},
		{Side: 512, Batch: 4, Bytes: 2489e6},
		{Side: 768, Batch: 1, Bytes: 2708e6},
		{Side: 1024, Batch: 1, Bytes: 3177e6},
		{Side: 512, Batch: 1, Training: true, Bytes: 2905e6},
		{Side: 512, Batch: 2, Training: true, Bytes: 3466e6},
		{Side: 512, Batch: 4, Training: true, Bytes: 4589e6},
		{Side: 512, Batch: 2, Training: true, Checkpointing: true, Bytes: 2652e6},
		{Side: 512, Batch: 4, Training: true, Checkpointing: true, Bytes: 2961e6},
		{Side: 768, Batch: 2, Training: true, Checkpointing: true, Bytes: 3024e6},
	}
}

// String is "4 pictures of 512×512" or "a training step of 4 at 512×512 with gradient checkpointing".
func (n Need) String() string {
	size := fmt.Sprintf("%d×%d", n.Side, n.Side)
	switch {
	case n.Checkpointing:
		return fmt.Sprintf("a training step of %d at %s with gradient checkpointing", n.Batch, size)
	case n.Training:
		return fmt.Sprintf("a training step of %d at %s", n.Batch, size)
	case n.Batch == 1:
		return "a picture of " + size
	}
	return fmt.Sprintf("%d pictures of %s", n.Batch, size)
}

// Fits reports whether so many free bytes are enough, what is left to the system and to other programs included.
func (n Need) Fits(free int64) bool { return n.Bytes+margin() <= free }
