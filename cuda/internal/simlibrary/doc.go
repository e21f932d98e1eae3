// Package simlibrary is NVIDIA's cuBLASLt and cuDNN without a card, for tests, beside the driver of package simdriver: functions that are called
// as the real ones are. They refuse what the real ones refuse (attributes of the wrong size or kind, matrices that do not fit, what is not
// finalised), and compute in float64 on the memory of the machine's card, in the order of its streams, so that they can be captured. A
// workspace is overwritten with what is no number.
//
// [Libraries] say which versions there are and what goes wrong; simdriver's Fail orders failures of single functions, by the libraries' numbers.
package simlibrary
