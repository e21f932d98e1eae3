package kohya

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/python"
	"github.com/atelier-go/atelier/lora/dataset"
)

// kind is how the value of an option is written.
type kind struct {
	class class
	read  func(values []string) (any, error)
	want  string // the values there are, for help
}

// class is how an option stands on a command line and in the GUI's form.
type class uint8

const (
	isSwitch class = iota
	isNumber
	isText
	isList
	isIdle    // does nothing here
	isRefused // would change the result, and cannot be done
)

// single is the kind of an option that has one value.
func single[T any](c class, want string, read func(text string) (T, error)) kind {
	return kind{c, func(values []string) (any, error) {
		if len(values) != 1 {
			return nil, fmt.Errorf("is a list of %d, want one value", len(values))
		}
		return read(strings.TrimSpace(values[0]))
	}, want}
}

// onOff is a switch.
var onOff = single(isSwitch, "", func(v string) (bool, error) {
	switch strings.ToLower(v) {
	case "true", "yes", "on", "1", "1.0":
		return true, nil
	case "false", "no", "off", "none", "0", "0.0":
		return false, nil
	}
	return false, fmt.Errorf("is %.60q, want true or false", v)
})

// truth reads a switch.
func truth(values []string) (bool, error) {
	v, err := onOff.read(values)
	set, _ := v.(bool)
	return set, err
}

// count is a whole number from least; 64.0 is one too.
func count(least int) kind {
	return single(isNumber, "", func(v string) (int, error) {
		f, err := python.Float(v)
		if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<31-1 {
			return 0, fmt.Errorf("is %.60q, want a whole number", v)
		}
		if int(f) < least {
			return 0, fmt.Errorf("is %s, want %d or more", v, least)
		}
		return int(f), nil
	})
}

// number is any number but infinity; positive is one above 0. Other bounds are left to whoever knows more.
var (
	number      = bounded(math.Inf(-1))
	positive    = bounded(0)
	notNegative = bounded(math.Nextafter(0, -1))
)

func bounded(above float64) kind {
	return single(isNumber, "", func(v string) (float64, error) {
		f, err := python.Float(v)
		switch {
		case err != nil || math.IsNaN(f) || math.IsInf(f, 0):
			return 0, fmt.Errorf("is %.60q, want a number such as 1e-4", v)
		case f <= above && above < 0:
			return 0, fmt.Errorf("is %s, want a number from 0", v)
		case f <= above:
			return 0, fmt.Errorf("is %s, want a number above 0", v)
		}
		return f, nil
	})
}

// seed is a whole number of 64 bits.
var seed = single(isNumber, "", func(v string) (uint64, error) {
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		err = fmt.Errorf("is %.60q, want a whole number from 0", v)
	}
	return n, err
})

// minutes is a time, of which 0 means never.
var minutes = single(isNumber, "", func(v string) (time.Duration, error) {
	n, err := notNegative.read([]string{v})
	if err != nil || n == 0.0 {
		return -1, err
	}
	return time.Duration(min(n.(float64), 1e6) * float64(time.Minute)), nil
})

// text is any, with its blanks.
var text = kind{isText, func(values []string) (any, error) {
	if len(values) != 1 {
		return nil, fmt.Errorf("is a list of %d, want one text", len(values))
	}
	return values[0], nil
}, ""}

// path is a text that names a file or folder.
var path = kind{isText, func(values []string) (any, error) {
	if strings.ContainsFunc(strings.Join(values, ""), unicode.IsControl) {
		return nil, fmt.Errorf(`is %.100q, which has letters that no path has: in double quotes \t, \n, \b, \f and \r are such; in TOML write single quotes or /, in JSON \\ or /`, values)
	}
	return text.read(values)
}, ""}

// extension is one of files, with its dot.
var extension = single(isText, "", func(v string) (string, error) {
	if v != "" && !strings.HasPrefix(v, ".") {
		return "", fmt.Errorf("is %.60q, want it with its dot, such as .txt", v)
	}
	return v, nil
})

// oneOf is a text of a few.
func oneOf(names ...string) kind { return named(names, names...) }

// named is a text that stands for a value.
func named[T any](names []string, values ...T) kind {
	want := strings.Join(names, ", ")
	return single(isText, want, func(v string) (value T, err error) {
		at := slices.Index(names, v)
		if at < 0 {
			return value, fmt.Errorf("is %.60q, want %s", v, want)
		}
		return values[at], nil
	})
}

var (
	precision     = named([]string{"float", "fp16", "bf16"}, compute.F32, compute.F16, compute.BF16)
	loss          = named([]string{"l2", "l1", "huber", "smooth_l1"}, compute.L2, compute.L1, compute.Huber, compute.SmoothL1)
	interpolation = named([]string{"lanczos", "box", "nearest", "bilinear", "bicubic", "area", "linear", "cubic"},
		dataset.Lanczos, dataset.Box, dataset.Nearest, dataset.Linear, dataset.Cubic, dataset.Area, dataset.Linear, dataset.Cubic)
)

// arguments are NAME=VALUE, several values or several in one, with blanks or commas between. Blanks and commas within a value
// stay: betas=0.9,0.99.
var arguments = kind{isList, func(values []string) (any, error) { return splitArguments(values), nil }, ""}

func splitArguments(values []string) []string {
	var all []string
	for _, value := range values {
		value = strings.NewReplacer(`"`, "", `'`, "").Replace(value)
		start := 0
		cut := func(end int) {
			if piece := strings.Trim(value[start:end], ", \t\r\n"); piece != "" {
				all = append(all, piece)
			}
			start = end
		}
		for _, at := range argumentName.FindAllStringIndex(value, -1) {
			cut(at[0])
		}
		cut(len(value))
	}
	return all
}

// argumentName is where a NAME=VALUE begins.
var argumentName = regexp.MustCompile(`(^|[\s,])[A-Za-z_]\w*=`)

// firstNumber is a number, or the first of several: text_encoder_lr has one for each text encoder.
var firstNumber = kind{isList, func(values []string) (any, error) {
	fields := strings.FieldsFunc(strings.Join(values, " "), func(r rune) bool { return strings.ContainsRune(" ,[]\t\n", r) })
	if len(fields) == 0 {
		return nil, errors.New("is empty, want a number such as 5e-5")
	}
	return number.read(fields[:1])
}, ""}

// each reads values with commas between as a list of one kind.
func each[T any](k kind, values []string) ([]T, error) {
	var list []T
	for part := range strings.SplitSeq(strings.Join(values, ","), ",") {
		v, err := k.read([]string{part})
		if err != nil {
			return nil, err
		}
		list = append(list, v.(T))
	}
	return list, nil
}

// listOf are numbers, one for each block of the UNet.
func listOf[T any](k kind) kind {
	return kind{isList, func(values []string) (any, error) { return each[T](k, values) }, ""}
}

// size is one side or two: 512, "512,768" or [512, 768].
var size = kind{isText, func(values []string) (any, error) {
	sides, err := each[int](count(1), values)
	switch {
	case err != nil:
		return nil, err
	case len(sides) == 1:
		return dataset.Size{W: sides[0], H: sides[0]}, nil
	case len(sides) != 2:
		return nil, fmt.Errorf("is %.60q, want a side such as 512, or width and height as 512,768", strings.Join(values, ","))
	}
	return dataset.Size{W: sides[0], H: sides[1]}, nil
}, ""}

// zoom is two numbers: "2.0,4.0".
var zoom = kind{isText, func(values []string) (any, error) {
	bounds, err := each[float64](positive, values)
	if err == nil && len(bounds) != 2 {
		err = fmt.Errorf("is %.60q, want two numbers such as 2.0,4.0", strings.Join(values, ","))
	}
	if err != nil {
		return nil, err
	}
	return [2]float64(bounds), nil
}, ""}

// idleSwitch and idleValue change no result here. Switches do not stand with a value on a command line, others do.
var (
	idleSwitch = kind{isIdle, onOff.read, "switch"}
	idleValue  = kind{isIdle, func([]string) (any, error) { return nil, nil }, ""}
)

// refused is a switch that may only be off.
func refused(reason string) kind {
	return kind{isRefused, func(values []string) (any, error) {
		set, err := truth(values)
		if err == nil && set {
			err = errors.New("cannot be had: " + reason)
		}
		return nil, err
	}, "switch"}
}

// refusedValue is an option that may not be given.
func refusedValue(reason string) kind {
	return kind{isRefused, func([]string) (any, error) { return nil, errors.New("cannot be had: " + reason) }, ""}
}
