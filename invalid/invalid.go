// Package invalid has the one error for a value that a field cannot have, whichever package the field belongs to, so that a
// program can say what is wrong in its own words: a command line by its flag, an HTTP API by its key, a form beside its input.
//
//	for _, e := range invalid.Fields(err) {
//		fmt.Println(e.Say(flags[e.Field]))
//	}
package invalid

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// FieldError says that a field holds what it cannot, and what it could. Several are joined with errors.Join.
type FieldError struct {
	Field string // the path to it from the type it is of: "Request.Width", "Config.Sets[0].BatchSize"
	Value any    // what it holds; nil leaves it out of the message
	Want  string // what it may hold, or what to do: "a multiple of 8 from 8 to 4096 pixels"
	Err   error  // what is behind it, if anything
}

// Field makes a FieldError; want is a format, with its arguments.
func Field(field string, value any, want string, args ...any) *FieldError {
	return &FieldError{Field: field, Value: value, Want: fmt.Sprintf(want, args...)}
}

// Error is "Request.Width is 7, want a multiple of 8 from 8 to 4096 pixels".
func (e *FieldError) Error() string { return e.Say(e.Field) }

// Unwrap is what is behind the error.
func (e *FieldError) Unwrap() error { return e.Err }

// maxValue bounds how much of a text a message repeats.
const maxValue = 60

// Say is the message with another name for the field.
func (e *FieldError) Say(name string) string {
	s := name
	switch v := e.Value.(type) {
	case nil:
	case string:
		s += fmt.Sprintf(" is %.*q", maxValue, v)
	default:
		s += fmt.Sprintf(" is %.*s", maxValue, fmt.Sprint(v))
	}
	if e.Want != "" {
		s += ", want " + e.Want
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Under is err as said by who holds the type that it is about in a field: what Noise.Check says of "Noise.Strength" is of
// "Config.Noise.Strength" to who checks a Config.
func Under(field string, err error) error {
	errs := slices.Clone(parts(err))
	for i, one := range errs {
		if e, ok := one.(*FieldError); ok {
			_, rest, _ := strings.Cut(e.Field, ".")
			moved := *e
			moved.Field = field + "." + rest
			errs[i] = &moved
		}
	}
	return errors.Join(errs...)
}

// Fields lists the field errors that err is or joins or wraps, in their order.
func Fields(err error) []*FieldError {
	if e, ok := err.(*FieldError); ok {
		return []*FieldError{e}
	}
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		var all []*FieldError
		for _, one := range e.Unwrap() {
			all = append(all, Fields(one)...)
		}
		return all
	case interface{ Unwrap() error }:
		return Fields(errors.Unwrap(err))
	}
	return nil
}

// maxListed is how many errors a message lists.
const maxListed = 30

// Join is [errors.Join] for as many errors as a stranger's file has mistakes: of more than thirty it counts the rest. What
// errors.Join has joined counts as several.
func Join(errs ...error) error {
	var all []error
	for _, err := range errs {
		all = append(all, parts(err)...)
	}
	if more := len(all) - maxListed; more > 0 {
		all = append(all[:maxListed], fmt.Errorf("and %d more", more))
	}
	return errors.Join(all...)
}

// parts are the errors that err joins without a word of its own, or itself.
func parts(err error) (all []error) {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || err.Error() != errors.Join(joined.Unwrap()...).Error() {
		return []error{err}
	}
	for _, one := range joined.Unwrap() {
		all = append(all, parts(one)...)
	}
	return all
}
