// Package elem computes what is done element by element or row by row: activations and their derivatives, sums,
// products, conversions between float types.
//
// An element's result depends on its operands and the kernel set alone, never on its place in a slice,
// so callers may cut work where they like. Sets agree to the rounding of a few float32 units in the last
// place; conversions, copies, ReLU and Add agree to the bit. Functions allocate nothing, start no
// goroutines and accept any alignment. Reductions and softmax live elsewhere (norm, attn).
package elem
