// Package kernel has the kernels of the CUDA device as Go functions that write them. What decides the structure of a kernel (types,
// tiles, the epilogue, the window of a convolution) is fixed when it is written; extents and addresses are its parameters, so that one
// kernel serves many shapes.
//
// Each kernel is a struct of such decisions with a method Kernel, whose comment lists the parameters in their order, and one that
// tells the grid for given extents. Arrays are half-precision, or float32 where Type says so; bias, norms' weights and statistics are
// always float32. Images are NHWC and weights of convolutions [Cout][kh][kw][Cin]. Numbers of elements stay below 2³². Arrays begin at
// multiples of 16 bytes.
package kernel
