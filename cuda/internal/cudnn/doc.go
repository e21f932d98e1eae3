// Package cudnn convolves with NVIDIA's cuDNN, where a computer has it: graphs of a convolution with bias, residual and SiLU, and
// input gradients, on NHWC images and KRSC weights.
//
// Graphs are made through the backend API, in which everything is a descriptor with numbered attributes; where a graph has no engine, a plain
// convolution is done by the calls that were there before. See NVIDIA's documentation
// of the cuDNN backend for the numbers.
package cudnn
