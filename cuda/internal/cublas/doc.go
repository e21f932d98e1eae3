// Package cublas multiplies matrices with NVIDIA's cuBLASLt, where a computer has it. Matrices are row-major here and
// column-major there: the same memory, read as its transpose, so that y = x·wᵀ is asked for as yᵀ = w·xᵀ.
//
// See NVIDIA's documentation of cuBLASLt for the calls and their numbers.
package cublas
