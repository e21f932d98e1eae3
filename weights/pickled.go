package weights

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/weights/pickle"
)

// nests are the keys under which programs put a model's tensors when they save more than those, the preferred first: Lightning
// and sd-scripts, BasicSR (whose averaged weights are the ones to use), others.
var nests = []string{"state_dict", "params_ema", "params-ema", "params", "model_state_dict", "model", "net"}

// Bounds on the values of a pickle that are looked at for tensors: they can refer to each other, and to themselves.
const (
	maxNesting = 8
	maxValues  = 1 << 20
)

// readPickle lists the tensors that torch.save wrote, by the keys of their dictionaries joined with dots.
func (f *File) readPickle(size int64) error {
	value, err := pickle.Read(f.data, size)
	if err != nil {
		return err
	}
	s := &shelf{names: make(map[string]bool), metadata: make(map[string]string)}
	if err := s.addRoot(value); err != nil {
		return err
	}
	f.entries, f.metadata, f.extras = s.entries, s.metadata, s.extras
	return nil
}

// shelf collects what is found in a pickle.
type shelf struct {
	entries  []entry
	names    map[string]bool // of the entries
	metadata map[string]string
	extras   []string
	values   int // looked at
}

// addRoot goes through the outermost value.
func (s *shelf) addRoot(value any) error {
	root, ok := value.(*pickle.Dict)
	if !ok {
		return s.add("", value, 0)
	}
	state := nested(root)
	if state != nil {
		if err := s.add("", state, 0); err != nil {
			return err
		}
	}
	for i, value := range root.Values {
		key, _ := root.Key(i)
		before := len(s.entries)
		if text, ok := scalar(value); ok && len(s.metadata) < maxMetadata {
			s.metadata[key] = text
			continue
		}
		if state == nil {
			if err := s.add(key, value, 1); err != nil {
				return err
			}
		}
		if len(s.entries) == before && value != any(state) {
			s.extras = append(s.extras, key)
		}
	}
	return nil
}

// nested is the dictionary of tensors in one of a training, nil if there is none.
func nested(root *pickle.Dict) *pickle.Dict {
	for _, key := range nests {
		if state, ok := root.Get(key).(*pickle.Dict); ok {
			return state
		}
	}
	return nil
}

// scalar is a string or number as text.
func scalar(value any) (text string, ok bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case int64:
		return strconv.FormatInt(v, 10), true
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// add adds the tensors in a value.
func (s *shelf) add(name string, value any, depth int) error {
	if s.values++; s.values > maxValues || depth > maxNesting {
		return fmt.Errorf("its values at %.100q are nested deeper than any model's; take another copy of the model", name)
	}
	switch v := value.(type) {
	case *pickle.Tensor:
		return s.addTensor(name, v)
	case *pickle.Dict:
		for i, value := range v.Values {
			if key, ok := v.Key(i); ok {
				if err := s.add(join(name, key), value, depth+1); err != nil {
					return err
				}
			}
		}
	case *pickle.List:
		return s.addItems(name, v.Items, depth)
	case pickle.Tuple:
		return s.addItems(name, v, depth)
	case *pickle.Object: // a torch.nn.ParameterDict, of which embeddings consist
		if state, ok := v.State.(*pickle.Dict); ok {
			return s.add(name, state.Get("_parameters"), depth+1)
		}
	}
	return nil
}

// addItems adds the tensors of a list, which are named by their places.
func (s *shelf) addItems(name string, items []any, depth int) error {
	for i, value := range items {
		if err := s.add(join(name, strconv.Itoa(i)), value, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (s *shelf) addTensor(name string, t *pickle.Tensor) error {
	switch {
	case s.names[name]:
		return fmt.Errorf("two tensors are called %.100q", name)
	case len(s.entries) == maxTensors:
		return fmt.Errorf("more than %d tensors", maxTensors)
	case len(name) > maxNameBytes:
		return fmt.Errorf("tensor name %.40q… is longer than %d bytes", name, maxNameBytes)
	}
	s.names[name] = true
	s.entries = append(s.entries, entry{name: name, dtype: DType(t.DType), shape: compute.Shape(slices.Clone(t.Shape)), pickled: t})
	return nil
}
