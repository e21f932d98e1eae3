// Package simdriver is NVIDIA's driver without a card, for tests: each of its functions has an address that C could call, as if it had
// been looked up in libcuda, and what kernels and copies do is done by package simgpu. So the bindings that users run are tested
// with all that is above them.
//
// A [Machine] is a computer with one card. Contexts are current on operating-system threads, as the real driver has it. Streams are
// queues: their work is done when somebody waits for it, or at any call, in an order that a seed decides among those that events
// allow. Copies from and to pinned memory look at it only then; other host memory is copied at once. What the driver's manual forbids is
// answered with its code: things used after they were given back, a launch with more shared memory than was asked for, waiting while a
// stream is captured. A kernel that does what it must not loses the context, and [Machine.Faults] tells why.
//
// [Machine.Fail] and [Machine.Lose] are bad luck to order, [Machine.Leaks] what a program forgot to give back.
package simdriver
