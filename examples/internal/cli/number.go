package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Number reads a number as people write it, with or without an exponent, but in none of Go's other forms, such as 0x10 and 1_000.
// NaN and infinities are left to whoever knows the range.
func Number(text string) (float64, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || strings.ContainsAny(text, "xX_") {
		return 0, errors.New("want a number such as 0.8")
	}
	return v, nil
}

// whole reads a whole number likewise: 010 is ten.
func whole(text string) (int64, error) {
	v, err := strconv.ParseInt(text, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, strconv.ErrRange
	case err != nil:
		return 0, errors.New("want a whole number such as 20")
	}
	return v, nil
}

// number is the value of a flag.
type number[N int | int64 | float64] struct {
	to   *N
	read func(text string) (N, error)
}

// String implements [flag.Value].
func (n number[N]) String() string {
	if n.to == nil {
		return ""
	}
	return fmt.Sprint(*n.to)
}

// Set implements [flag.Value].
func (n number[N]) Set(text string) (err error) {
	*n.to, err = n.read(text)
	return err
}

// IntVar defines a flag for a whole number.
func (f *Flags) IntVar(to *int, name string, value int, usage string) {
	*to = value
	f.Var(number[int]{to, func(text string) (int, error) {
		v, err := whole(text)
		if err == nil && v != int64(int(v)) {
			err = strconv.ErrRange
		}
		return int(v), err
	}}, name, usage)
}

// Int defines a flag for a whole number and returns where that will be.
func (f *Flags) Int(name string, value int, usage string) *int {
	to := new(int)
	f.IntVar(to, name, value, usage)
	return to
}

// Int64Var defines a flag for a whole number of 64 bits.
func (f *Flags) Int64Var(to *int64, name string, value int64, usage string) {
	*to = value
	f.Var(number[int64]{to, whole}, name, usage)
}

// Float64Var defines a flag for a number.
func (f *Flags) Float64Var(to *float64, name string, value float64, usage string) {
	*to = value
	f.Var(number[float64]{to, Number}, name, usage)
}

// Float64 defines a flag for a number and returns where that will be.
func (f *Flags) Float64(name string, value float64, usage string) *float64 {
	to := new(float64)
	f.Float64Var(to, name, value, usage)
	return to
}
