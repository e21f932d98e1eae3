// Package gemm multiplies float32 activations by packed weights: Y = act(X·Wᵀ + bias) + residual.
//
// Weights keep the type of their checkpoint (F32, F16 or BF16), are packed once into panels of NR output
// channels and are widened a panel at a time into scratch that stays in a core's cache. Activations are
// never packed: the micro-kernel reads the rows of A through pointers, so one kernel serves linear
// layers, inputs in two parts, convolutions (a row per tap, a shared zero row for padding) and the
// products inside Winograd's algorithm. The idea is the indirect convolution of Dukhan,
// "The Indirect Convolution Algorithm" (arXiv:1907.02129).
//
// The gradient by an input is a product by the same weights turned over. Their adjoint reads the one packing there is
// and turns square blocks of it over on the way to scratch.
//
// Weights that are operands of the run, such as the factors of low-rank adapters, are not packed: MatMul, and
// any plan of Kernel.Live weights, gathers a panel of them whenever it is multiplied.
//
// The package owns no goroutines. A Plan is a list of phases; the tasks of a phase are independent, and
// the caller spreads them over its workers. The order in which a sum is formed depends on the shape
// alone, so any number of workers produces the same bits.
//
// It is not a BLAS: no general strides on weights beyond what Matrix describes, no sub-matrices, no
// triangular or symmetric forms.
package gemm
