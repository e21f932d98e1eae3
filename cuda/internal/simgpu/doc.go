// Package simgpu executes PTX without a card, for tests: the very text that a driver would compile, a warp at a time.
//
// It stands in for hardware where hardware forgives nothing: whatever a kernel does that the PTX manual leaves undefined is a
// [*Fault] that names the line. A read of a register, of shared or of device memory that nobody has written; an access outside every
// allocation or not aligned; shared memory passed between warps without a barrier, or used before its asynchronous copy was waited
// for; device memory that one block writes and another touches; a barrier, a shuffle or a matrix instruction that not all lanes
// reach; a kernel that does not end. An instruction that it does not know is an error too.
//
// Warps and blocks take turns in an order that a seed decides, so that a test can ask for several. Functions that the manual only
// bounds are off by up to that bound, as another seed decides. Matrix products are summed in float32, or as the tensor cores of a chip do, bit for bit, by
// the model of MMA-Sim (arXiv:2511.10909), whose authors compared it with hardware.
//
// What no program can show without a card remains: time, what the driver's assembler makes of the text, and a memory model weaker
// than one access after the other.
package simgpu
