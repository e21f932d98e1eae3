// Package driver calls NVIDIA's driver, the one library that the CUDA device cannot do without.
//
// A [Driver] lists the cards; a [Context] is one of them in use, on an operating-system thread of its own, because the driver
// knows a context by the thread that it is current on. Everything about memory, modules, streams and graphs happens inside
// [Context.Do].
//
// Every failure is an error: [ErrNoDevice] where there is no card, an *[OutOfMemoryError] with what was asked for and what was
// free, and else an *[Error] with the driver's own words and, where it helps, what to do.
package driver
