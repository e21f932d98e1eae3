package grid

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/atelier-go/atelier/internal/python"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sampler"
)

// MaxValues is how many values an axis has at most.
const MaxValues = 10_000

// Axis is a kind with values: string, int or float64 each, for an order []string.
type Axis struct {
	*Kind
	Values []any
}

// Parse reads an axis from its name and a text: values with commas between, in double quotes where they have commas themselves.
// Numbers may be ranges: "1-5", "1-10 (+2)", "10-1 (-3)", and "1-10 [5]" of five values. An *invalid.FieldError says what is wrong.
func Parse(name, text string) (*Axis, error) {
	k, err := FindKind(name)
	if err != nil {
		return nil, err
	}
	if k.Name == Nothing {
		return &Axis{k, []any{0}}, nil
	}
	values, err := k.read(split(text))
	if err != nil {
		return nil, err
	}
	return &Axis{k, values}, nil
}

// Choose is Parse for values that are a list already, such as names that somebody has chosen.
func Choose(name string, choices []string) (*Axis, error) {
	k, err := FindKind(name)
	if err != nil {
		return nil, err
	}
	values, err := k.read(choices)
	return &Axis{k, values}, err
}

// Check refuses values that are not among those that there are, such as the names of checkpoints.
func (a *Axis) Check(there []string) error {
	var errs []error
	for _, value := range a.Values {
		if text := write(value); !slices.ContainsFunc(there, func(name string) bool { return strings.EqualFold(name, strings.TrimSpace(text)) }) {
			errs = append(errs, a.invalid(text, "one of %q", there))
		}
	}
	return invalid.Join(errs...)
}

// Labels are what legends say of the values.
func (a *Axis) Labels() (labels []string) {
	label := a.label
	if label == nil {
		label = named
	}
	for _, value := range a.Values {
		labels = append(labels, label(a.Name, value))
	}
	return labels
}

// write is a value as legends have it.
func write(value any) string {
	switch v := value.(type) {
	case float64:
		rounded, err := strconv.ParseFloat(strconv.FormatFloat(v, 'f', 8, 64), 64)
		if err != nil {
			return python.String(v)
		}
		return python.String(rounded)
	case []string:
		return strings.Join(v, ", ")
	}
	return fmt.Sprint(value)
}

// invalid is an error of a value of this kind.
func (k *Kind) invalid(value any, want string, args ...any) error {
	return invalid.Field("Axis."+strings.ReplaceAll(k.Name, " ", ""), value, want, args...)
}

// read turns texts into values.
func (k *Kind) read(list []string) (values []any, err error) {
	switch k.values {
	case orders:
		return k.orders(list)
	case wholes, reals:
		for _, text := range list {
			numbers, err := k.numbers(text)
			if err != nil {
				return nil, err
			}
			if values = append(values, numbers...); len(values) > MaxValues {
				return nil, k.invalid(text, "%d values at most", MaxValues)
			}
		}
		return values, nil
	}
	if len(list) > MaxValues {
		return nil, k.invalid(len(list), "%d values at most", MaxValues)
	}
	for _, text := range list {
		if strings.Contains(strings.ToLower(k.Name), "sampler") {
			if _, _, err := sampler.Parse(text, ""); err != nil {
				return nil, &invalid.FieldError{Field: "Axis." + strings.ReplaceAll(k.Name, " ", ""), Value: text, Err: err}
			}
		}
		values = append(values, text)
	}
	return values, nil
}

// maxOrdered is how many texts can be put in all orders: 7! are 5,040.
const maxOrdered = 7

// orders are all permutations of texts, first those that begin as the texts do.
func (k *Kind) orders(list []string) (values []any, err error) {
	if len(list) > maxOrdered {
		return nil, k.invalid(len(list), "%d texts at most to put in order", maxOrdered)
	}
	for order := range permutations(list) {
		values = append(values, order)
	}
	return values, nil
}

func permutations(list []string) iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		if len(list) == 0 {
			yield(nil)
			return
		}
		for i, first := range list {
			for rest := range permutations(slices.Delete(slices.Clone(list), i, i+1)) {
				if !yield(append([]string{first}, rest...)) {
					return
				}
			}
		}
	}
}

// white is Python's class of white space.
const white = `[\t-\r\x1c-\x20\x{85}\p{Z}]*`

// Ranges by step and by count. Behind the first digits of a real number the web UI takes any character for its point.
var (
	wholeStep  = ranges(`\p{Nd}+`, `\((`, `[+-]\p{Nd}+`, `)`+white+`\)`)
	wholeCount = ranges(`\p{Nd}+`, `\[(`, `\p{Nd}+`, `)`+white+`\]`)
	realStep   = ranges(`\p{Nd}+(?:.\p{Nd}*)?`, `\((`, `[+-]\p{Nd}+(?:.\p{Nd}*)?`, `)`+white+`\)`)
	realCount  = ranges(`\p{Nd}+(?:.\p{Nd}*)?`, `\[(`, `\p{Nd}+(?:.\p{Nd}*)?`, `)`+white+`\]`)
)

func ranges(number, open, by, end string) *regexp.Regexp {
	signed := `([+-]?` + white + number + `)`
	return regexp.MustCompile(`^` + white + signed + white + `-` + white + signed + `(?:` + white + open + by + end + `)?` + white + `$`)
}

// numbers are those of a range, or the one that a text is; blanks are none.
func (k *Kind) numbers(text string) (values []any, err error) {
	if strings.TrimFunc(text, isSpace) == "" {
		return nil, nil
	}
	step, count, read := wholeStep, wholeCount, readWhole
	if k.values == reals {
		step, count, read = realStep, realCount, readReal
	}
	var numbers []float64
	if m := step.FindStringSubmatch(text); m != nil {
		numbers, err = k.steps(read, m[1:])
	} else if m := count.FindStringSubmatch(text); m != nil {
		numbers, err = spread(read, m[1:])
	} else if k.values == wholes {
		n, err := python.Int(text)
		if err != nil {
			return nil, k.invalid(text, "a whole number, or a range: 1-5, 1-9 (+2), 1-10 [5]")
		}
		return []any{n}, nil
	} else {
		var one float64
		one, err = python.Float(text)
		numbers = []float64{one}
	}
	if err != nil {
		return nil, k.invalid(text, "a number, or a range: 1-5, 0.5-1 (+0.1), 0-1 [5]; %.100s", err.Error())
	}
	for _, n := range numbers {
		if k.values == wholes {
			values = append(values, int(n))
		} else {
			values = append(values, n)
		}
	}
	return values, nil
}

func readWhole(text string) (float64, error) {
	n, err := python.Int(text)
	if err == nil && math.Abs(float64(n)) >= 1<<53 {
		err = errors.New("ranges end at 2⁵³")
	}
	return float64(n), err
}

func readReal(text string) (float64, error) { return python.Float(text) }

var errMany = fmt.Errorf("%d values at most", MaxValues)

// steps are from, to and by what: of whole numbers the end is moved up by one, of others by a step, so that it is among them.
func (k *Kind) steps(read func(string) (float64, error), parts []string) ([]float64, error) {
	from, err := read(parts[0])
	to, err2 := read(parts[1])
	by, err3 := 1.0, error(nil)
	if parts[2] != "" {
		by, err3 = read(parts[2])
	}
	if err := errors.Join(err, err2, err3); err != nil {
		return nil, err
	}
	end := to + 1
	if k.values == reals {
		end = to + by
	}
	n := math.Ceil((end - from) / by)
	switch {
	case by == 0:
		return nil, errors.New("a step other than 0")
	case n > MaxValues:
		return nil, errMany
	}
	var numbers []float64
	delta := float64(from+by) - from
	for i := range int(max(n, 0)) {
		numbers = append(numbers, from+float64(float64(i)*delta))
	}
	return numbers, nil
}

// spread are so many numbers, at the same distance, from one to another.
func spread(read func(string) (float64, error), parts []string) ([]float64, error) {
	from, err := read(parts[0])
	to, err2 := read(parts[1])
	count, err3 := 1, error(nil)
	if parts[2] != "" {
		count, err3 = python.Int(parts[2])
	}
	switch err := errors.Join(err, err2, err3); {
	case err != nil:
		return nil, err
	case count > MaxValues:
		return nil, errMany
	}
	numbers := make([]float64, count)
	step := (to - from) / float64(count-1)
	for i := range numbers {
		if numbers[i] = from; i > 0 {
			numbers[i] = float64(float64(i)*step) + from
		}
	}
	if count > 1 {
		numbers[count-1] = to
	}
	return numbers, nil
}

// split are the values of a text, as Python's csv reads them, without white space around.
func split(text string) (values []string) {
	for rest := text; rest != ""; {
		var value string
		var more bool
		if value, rest, more = field(strings.TrimLeft(rest, " ")); more || value != "" || len(values) > 0 {
			values = append(values, strings.TrimFunc(value, isSpace))
		}
		if more && rest == "" {
			values = append(values, "")
		}
	}
	return values
}

// field reads a value and what ends it; more says that it is a comma.
func field(text string) (value, rest string, more bool) {
	var b strings.Builder
	quoted := strings.HasPrefix(text, `"`)
	if quoted {
		text = text[1:]
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '"' && strings.HasPrefix(text[i+1:], `"`):
			b.WriteByte(c)
			i++
		case quoted && c == '"':
			quoted = false
		case !quoted && (c == ',' || c == '\n' || c == '\r'):
			return b.String(), text[i+1:], c == ','
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), "", false
}

// isSpace is Python's idea of white space.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }
