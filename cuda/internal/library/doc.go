// Package library finds NVIDIA's shared libraries at run time, opens them and calls their functions. Nothing is linked: a program
// builds and starts where none of them is, and learns from a [NotFoundError] what was searched, what was found and what to do.
//
// The driver is opened by its name alone, with [OpenDriver]. The others are families, of which each is taken whole from one place,
// because parts of two versions do not fit together: see [Computer.Places] for where they are looked for, and [Computer.Find].
package library
