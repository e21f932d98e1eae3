package norm

import (
	"fmt"

	"github.com/atelier-go/atelier/cpu/internal/isa"
)

// LayerConfig describes a layer normalisation of [Rows,C] over its last axis.
type LayerConfig struct {
	Rows, C int
	Eps     float64
}

// LayerArgs are the operands of one run. Out may be X.
type LayerArgs struct {
	X, Out       []float32 // [Rows,C]
	Weight, Bias []float32 // [C]
}

// Layer is a layer normalisation laid out for one shape and kernel set:
//
//	y = (x-μ)/√(σ²+Eps)·Weight + Bias
//
// with the mean and biased variance of each row. See Ba et al., "Layer Normalization" (arXiv:1607.06450).
// It has one phase of Tasks independent tasks, is read-only and may be shared.
type Layer struct {
	cfg  LayerConfig
	kern *kernels
	rows int // rows in a task
}

func (cfg LayerConfig) check() error {
	if cfg.Rows < 1 || cfg.C < 1 {
		return fmt.Errorf("norm: %d rows of %d channels: want at least 1 of each", cfg.Rows, cfg.C)
	}
	if !(cfg.Eps >= 0) {
		return fmt.Errorf("norm: epsilon %v is not a number from 0 up", cfg.Eps)
	}
	return nil
}

// NewLayer checks cfg and lays out the work for a kernel set.
func NewLayer(set isa.Set, cfg LayerConfig) (*Layer, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return &Layer{cfg, kernelsFor(set), max(1, chunkElems/cfg.C)}, nil
}

// Tasks is the number of independent tasks.
func (l *Layer) Tasks() int { return (l.cfg.Rows + l.rows - 1) / l.rows }

// Check reports operands too short for the plan. Do relies on a caller that has checked.
func (l *Layer) Check(a *LayerArgs) error {
	for _, o := range []struct {
		name       string
		have, want int
	}{
		{"X", len(a.X), l.cfg.Rows * l.cfg.C},
		{"Out", len(a.Out), l.cfg.Rows * l.cfg.C},
		{"Weight", len(a.Weight), l.cfg.C},
		{"Bias", len(a.Bias), l.cfg.C},
	} {
		if o.have < o.want {
			return fmt.Errorf("norm: %s has %d elements: want %d", o.name, o.have, o.want)
		}
	}
	return nil
}

// Do runs one task. The args must pass Check.
func (l *Layer) Do(task int, a *LayerArgs) {
	first, rows := l.Rows(task)
	l.Into(a.Out[first*l.cfg.C:], first, rows, a)
}

// Rows are those of a task.
func (l *Layer) Rows(task int) (first, rows int) {
	first = task * l.rows
	return first, min(l.rows, l.cfg.Rows-first)
}

// Into writes some rows, from first on, to the beginning of dst instead of to where they belong in Out.
func (l *Layer) Into(dst []float32, first, rows int, a *LayerArgs) {
	c := l.cfg.C
	l.kern.layer(dst[:rows*c], a.X[first*c:][:rows*c], a.Weight[:c], a.Bias[:c], rows, c, float32(l.cfg.Eps), 1/float32(c))
}
