// Package compute is the vocabulary every network is written in and every device understands.
//
// Model code runs once per shape against a [Builder]: each call records one op, and [Builder.Build] yields a
// straight-line [Program] of single-assignment values. A [Device] compiles the program, laying all intermediates
// out in one arena ([Plan]), and the resulting [Executable] runs it any number of times. Recording order is
// execution order; nothing is reordered or rewritten, and fusion is spelled out by the model ([Epilogue],
// two-part inputs, activations inside norms).
//
// Ops are plain structs whose fields are the values they read. The set is closed: a new op comes with its doc
// comment, shape rule, gradient rule (or the reason why it has none), reference implementation (package ref) and
// conformance cases (package computetest).
//
// Training derives its adjoint from the recorded program: [Gradient] walks it backwards and records, with the rule of
// each op, more ops of the same vocabulary. What is trained are values, the low-rank factors of [MatMul]; parameters
// are frozen, and a layer of parameters costs its input gradient only. [Builder.Segment] and [CheckpointedGradient]
// trade time for memory.
//
// Images are [N,H,W,C] and tokens [N,T,C], so convolution and attention share bytes without a transpose;
// a 1×1 convolution is [Linear]. Weights keep the layout and element type of their checkpoint; devices pack them.
//
// The package computes nothing itself and knows no device.
package compute
