package pickle

import "strconv"

// The values of Python that a pickle holds are these types, besides bool, int64, float64, string, []byte, *big.Int for integers
// beyond int64, and nil for None.
type (
	// Tuple is a tuple.
	Tuple []any
	// List is a list or a set, in the order of the file.
	List struct{ Items []any }
	// Dict is a dictionary, in the order of the file.
	Dict struct{ Keys, Values []any }
	// Name is a class or function by its full name, such as "torch.float16". Nothing of it exists here but the name.
	Name string
	// Object is an instance of a class, or the result of a function, that means nothing to tensors: the name it was asked for
	// by, and what it was to be made of.
	Object struct {
		Class Name
		Args  Tuple
		State any // given to it afterwards, nil if none was
	}
)

// Get is the value of a key, nil if the dictionary has none.
func (d *Dict) Get(key string) any {
	for i := len(d.Keys) - 1; i >= 0; i-- {
		if d.Keys[i] == key {
			return d.Values[i]
		}
	}
	return nil
}

// Key is the key at i as text: strings as they are, integers in digits; ok is false for keys of other kinds.
func (d *Dict) Key(i int) (key string, ok bool) {
	switch k := d.Keys[i].(type) {
	case string:
		return k, true
	case int64:
		return strconv.FormatInt(k, 10), true
	}
	return "", false
}
