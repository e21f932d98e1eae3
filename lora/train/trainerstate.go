package train

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/lora"
)

// State is all that a [Trainer] needs to go on between two updates as if it had never stopped, to the bit.
type State struct {
	// Tensors are the factors by their keys in kohya's files, MODULE.lora_down.weight and MODULE.lora_up.weight, and what
	// the optimizer keeps for each, its name behind the factor's: MODULE.lora_down.weight.m.
	Tensors map[string]lora.Factor
	// Numbers are "steps", those done and not skipped, and what the optimizer keeps for all factors together.
	Numbers map[string]float64
}

// State downloads the state as the last Update left it: the gradients of batches since then are no part of it.
func (t *Trainer) State() (State, error) {
	s := State{Tensors: make(map[string]lora.Factor), Numbers: map[string]float64{"steps": float64(t.steps)}}
	for _, f := range t.factors {
		for _, k := range f.kept() {
			data := make([]float32, k.shape.Elements())
			if err := k.read(data); err != nil {
				return State{}, fmt.Errorf("lora: %s: %w", k.name, err)
			}
			s.Tensors[k.name] = lora.Factor{Shape: k.shape, Data: data}
		}
	}
	for name, v := range t.numbers() {
		s.Numbers[name] = *v
	}
	return s, nil
}

// Restore puts a trainer into a state that one of the same modules and optimizer was in, and forgets the batches that no
// Update has used. A state of others is an error that names what is missing, left over or misshapen, and changes nothing.
func (t *Trainer) Restore(s State) error {
	if err := t.fits(s); err != nil {
		return err
	}
	for _, f := range t.factors {
		for _, k := range f.kept() {
			if err := k.write(s.Tensors[k.name].Data); err != nil {
				return fmt.Errorf("lora: %s: %w", k.name, err)
			}
		}
	}
	for name, v := range t.numbers() {
		*v = s.Numbers[name]
	}
	t.steps, t.batches = int(s.Numbers["steps"]), 0
	return nil
}

// maxComplaints bounds how many tensors an error names.
const maxComplaints = 8

// fits reports what of a state is not the trainer's.
func (t *Trainer) fits(s State) error {
	var errs []error
	more := 0
	complain := func(format string, args ...any) {
		if len(errs) < maxComplaints {
			errs = append(errs, fmt.Errorf("lora: the state to restore: "+format, args...))
		} else {
			more++
		}
	}
	left := maps.Clone(s.Tensors)
	for _, f := range t.factors {
		for _, k := range f.kept() {
			x, ok := s.Tensors[k.name]
			delete(left, k.name)
			switch {
			case !ok:
				complain("tensor %q is missing", k.name)
			case !x.Shape.Equal(k.shape) || len(x.Data) != k.shape.Elements():
				complain("tensor %q is %v with %d numbers, want %v", k.name, x.Shape, len(x.Data), k.shape)
			case slices.ContainsFunc(x.Data, notFinite):
				complain("tensor %q has numbers that are not finite", k.name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		complain("tensor %.200q belongs to no module that is trained here, or to another optimizer", name)
	}
	if steps, ok := s.Numbers["steps"]; !ok || steps != math.Trunc(steps) || !(steps >= 0 && steps <= math.MaxInt32) {
		complain("number \"steps\" is %v, want a count of steps", steps)
	}
	numbers := t.numbers()
	for _, name := range slices.Sorted(maps.Keys(numbers)) {
		if v, ok := s.Numbers[name]; !ok || math.IsNaN(v) || math.IsInf(v, 0) {
			complain("number %q is %v, want one that is finite", name, v)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Numbers)) {
		if numbers[name] == nil && name != "steps" {
			complain("number %.200q belongs to another optimizer", name)
		}
	}
	if more > 0 {
		errs = append(errs, fmt.Errorf("lora: and %d more; restore it with the options that it was made with", more))
	}
	return errors.Join(errs...)
}

// kept is an array of a factor's state, on the device or on the host.
type kept struct {
	name   string
	shape  compute.Shape
	tensor compute.Tensor
	host   []float32
}

// read copies the array to data, and write back.
func (k kept) read(data []float32) error {
	if k.tensor != nil {
		return k.tensor.Download(compute.Floats(data))
	}
	copy(data, k.host)
	return nil
}

func (k kept) write(data []float32) error {
	if k.tensor != nil {
		return k.tensor.Upload(compute.Floats(data))
	}
	copy(k.host, data)
	return nil
}

// deviceArrays are the names of what is on the device: the parameter has none of its own, AdamW's moments do.
var deviceArrays = [...]string{"", ".m", ".v"}

// kept lists the arrays of a factor's state: itself and what the optimizer keeps for it.
func (f *factor) kept() (all []kept) {
	for i, x := range f.now {
		all = append(all, kept{f.name + deviceArrays[i], f.shape, x, nil})
	}
	for i, a := range f.arrays {
		all = append(all, kept{f.name + "." + a.Name, a.Shape, nil, f.state[i]})
	}
	return all
}

// numbers lists what the optimizer keeps for all factors together.
func (t *Trainer) numbers() map[string]*float64 {
	if t.optimizer.Host == nil {
		return nil
	}
	return t.optimizer.Host.Numbers()
}
