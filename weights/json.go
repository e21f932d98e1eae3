package weights

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// jsonWalker reads JSON of a known structure token by token, so that nothing passes unseen: equal keys,
// other types, numbers that are not natural, text after the end.
type jsonWalker struct {
	dec    *json.Decoder
	source []byte
	what   string // the document, in errors
}

func newJSONWalker(what string, text []byte) (jsonWalker, error) {
	if !utf8.Valid(text) {
		return jsonWalker{}, fmt.Errorf("%s: not UTF-8", what)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	return jsonWalker{dec, text, what}, nil
}

func (w jsonWalker) token() (json.Token, error) {
	token, err := w.dec.Token()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", w.what, err)
	}
	return token, nil
}

func (w jsonWalker) delim(want json.Delim) error {
	token, err := w.token()
	if err == nil && token != want {
		err = fmt.Errorf("%s: have %v, want %q", w.what, token, want.String())
	}
	return err
}

// object reads one object, calling field after each key to read the value; name is the object's in errors.
func (w jsonWalker) object(name string, field func(key string) error) error {
	if err := w.delim('{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for w.dec.More() {
		token, err := w.token()
		if err != nil {
			return err
		}
		key, ok := token.(string)
		if !ok {
			return fmt.Errorf("%s: a key is not a string", name)
		}
		if seen[key] {
			return fmt.Errorf("%s: key %.100q appears twice", name, key)
		}
		seen[key] = true
		if err := field(key); err != nil {
			return err
		}
	}
	return w.delim('}')
}

// metadata reads the object of strings that is the value of __metadata__.
func (w jsonWalker) metadata(entry func(key, value string)) error {
	count := 0
	return w.object("__metadata__", func(key string) error {
		if count++; count > maxMetadata {
			return fmt.Errorf("%s: more than %d entries of metadata", w.what, maxMetadata)
		}
		value, err := w.text(key)
		entry(key, value)
		return err
	})
}

// text reads the string that is the value of key.
func (w jsonWalker) text(key string) (string, error) {
	token, err := w.token()
	if err != nil {
		return "", err
	}
	s, ok := token.(string)
	if !ok {
		return "", fmt.Errorf("value of %.100q is not a string", key)
	}
	return s, nil
}

// naturals reads the array of natural numbers that is the value of key and returns how many there were.
func (w jsonWalker) naturals(key string) (int, error) {
	if err := w.delim('['); err != nil {
		return 0, err
	}
	n := 0
	for ; w.dec.More(); n++ {
		token, err := w.token()
		if err != nil {
			return 0, err
		}
		number, ok := token.(json.Number)
		if !ok {
			return 0, fmt.Errorf("%s holds something other than numbers", key)
		}
		if _, err := strconv.ParseUint(number.String(), 10, 63); err != nil {
			return 0, fmt.Errorf("%s: %.40q is no natural number below 2⁶³", key, number.String())
		}
	}
	return n, w.delim(']')
}

// skip reads any value.
func (w jsonWalker) skip() error {
	var value json.RawMessage
	if err := w.dec.Decode(&value); err != nil {
		return fmt.Errorf("%s: %w", w.what, err)
	}
	return nil
}

// end checks that nothing but white space is left.
func (w jsonWalker) end() error {
	if rest := bytes.TrimLeft(w.source[w.dec.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return errors.New(w.what + ": text after the JSON object")
	}
	return nil
}
