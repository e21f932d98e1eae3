// Package attn computes scaled dot-product attention, softmax(Q·Kᵀ·scale)·V per head, without ever
// holding the whole score matrix.
//
// It follows Dao et al., "FlashAttention" (arXiv:2205.14135), algorithm 1: keys are visited in blocks,
// and a running row maximum and row sum correct what earlier blocks contributed. Work is laid out with
// queries across the vector lanes: a panel is two vectors of queries, scores are held as
// [key][query], and each reduction over keys runs down the registers.
//
// Gradient is the derivative, by two passes over the scores in the same layout: one with queries across the
// lanes for their statistics, one with keys for the results.
//
// The package computes on slices it is given. It starts no goroutines, allocates nothing per run and
// knows nothing of programs or devices; it has no dropout and no mask other than the causal one.
package attn
