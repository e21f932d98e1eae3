// Package norm computes group normalisation over NHWC activations and layer normalisation over the last
// axis.
//
// Group statistics are summed per channel in float64, chunk by chunk, and the chunks are combined in a
// fixed order, so a group of millions of elements with a large mean keeps full float32 accuracy and the
// result depends on the shape alone, never on who did which chunk. GroupGradient and LayerGradient are the
// derivatives by the input. All are limited by memory, not by arithmetic. The package starts no goroutines,
// allocates nothing per run and accepts any alignment.
package norm
