// Package dense makes arrays of gorgonia.org/tensor from what package sd hands out. It is the only package that imports Gorgonia,
// so that a program which does not want its arrays does not carry it.
//
// Gorgonia's tensor panics at start on current Go unless go.mod requires go4.org/unsafe/assume-no-moving-gc at
// v0.0.0-20231121144256-b99613f794b6 or newer; the test of this package, which just runs, is the alarm.
package dense

import "gorgonia.org/tensor"

// New is an array of the data, which it shares, or the error. It takes what sd.Step.Latents returns:
//
//	latents, err := dense.New(step.Latents())
func New(data []float32, shape []int, err error) (*tensor.Dense, error) {
	if err != nil {
		return nil, err
	}
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(data)), nil
}
