// Package conv convolves float32 NHWC activations with packed OIHW weights.
//
// Direct convolution hands the rows of each kernel tap to package gemm by pointer: nothing is copied,
// padding is a shared row of zeros, and a concatenated second input or a nearest-neighbour resize of the
// input is only a different choice of pointers. Stride-1 3×3 convolutions of enough channels run
// Winograd's F(4×4,3×3) instead (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks",
// arXiv:1509.09308), which needs a quarter of the multiplications, and 25/144 of them when its input is
// resized by exactly two, because 11 of its 36 products then multiply zeros.
//
// Where it is asked to, Winograd rounds both transforms to 16-bit integers, which processors multiply at twice the speed
// of float32. The channels of a tile, and of an output, that are summed up in one go are a vector with a scale of its own,
// which makes it 32000 long: sums of products of two such vectors stay below 2³¹, and their elements have some ten bits,
// where bfloat16 has eight. The result errs by about 10⁻³ of its size.
//
// Both algorithms read the same packed weights, in the type of the checkpoint. As in package gemm the
// caller owns the workers and the order of summation depends on the shape alone.
//
// The gradient by the input is a convolution once more, by the same packed weights, with the taps reversed, the result's
// gradient spaced by the stride and what a resize copied added up again; the gradient by the weight is a product over patches.
//
// The package has no dilation of kernels and no groups.
package conv
