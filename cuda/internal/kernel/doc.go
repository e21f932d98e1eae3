// Package kernel has the kernels of the CUDA device as Go functions that write them, and chooses among them. What decides the structure
// of a kernel (types, tiles, the epilogue, the window of a convolution) is fixed when it is written; extents and addresses are its
// parameters, so that one kernel serves many shapes.
//
// [Kernels] tell for a [Card] how programs are computed: Store gives the values of a program the types that they are kept as, and Work
// gives for a node of such a program its [Launch]es, one after the other, each with a kernel, grid, bytes of shared memory, and what
// its parameters are given: arrays of operands and results, pieces of the op's scratch, tables, reports and numbers.
//
//	kernels := kernel.New(kernel.Card{Half: true, Multiprocessors: 28})
//	stored := kernels.Store(program)
//	for _, n := range stored.Nodes {
//		work, err := kernels.Work(stored, n)
//		…
//	}
//
// A launch may overwrite an operand with its result where compute.Overwriter says so. Whoever runs launches packs each parameter once
// for every type and order that an [Array] asks for, gives each [Report] two words of its own and reads them after a run.
//
// Each kernel is a struct of what is fixed, with a method Kernel, whose comment lists the parameters in their order, and one that
// tells the grid for given extents. Arrays are half-precision or float32; bias, norms' weights and statistics are always float32. Images
// are NHWC and weights of convolutions [Cout][kh][kw][Cin]. Numbers of elements stay below 2³². Arrays begin at multiples of 16 bytes.
package kernel
