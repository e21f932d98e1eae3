// Package rng reproduces the random numbers of the programs whose pictures ours must equal: PyTorch's
// CPU generator ([Torch]), the generator of NVIDIA cards as PyTorch uses it ([Philox]), and the
// Brownian path that torchsde derives from them ([Brownian]) for the SDE samplers.
//
// The arithmetic of Torch's draws of 16 and more is laid down to the bit on every platform. Shorter
// draws and Philox round float64 logarithms and sines to float32, which platforms that evaluate those
// differently could change by one bit in a hundred million. Nothing here is fit for cryptography.
package rng

// Source is a stream of standard normal numbers. Normal fills dst with the stream's next draw, which
// corresponds to one call of torch.randn: the values depend on how a stream is divided into draws.
type Source interface {
	Normal(dst []float32)
}
