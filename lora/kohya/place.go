package kohya

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/lora/dataset"
	"github.com/atelier-go/atelier/lora/train"
)

// settings are what the table's places are in: a training and what is not part of one.
type settings struct {
	train.Config
	set dataset.Set // of train_data_dir, and the defaults of dataset_config

	model, vae, configFile, datasetConfig, defaults string
	networkModule, modelFormat                      string
	networkArgs                                     []string
	downLRWeight, midLRWeight, upLRWeight           string
	blockLRZeroThreshold                            float64
	use8bitAdam, useLion                            bool

	idle  []string // options that were given and do nothing here
	wrong []string // and those whose values are errors, which are no reason for a second one
}

// place is where an option goes: how its values are read and put there.
type place struct {
	kind kind
	put  func(s *settings, values []string) error
	want string // the values there are, for help
}

// kind is what an option is.
type kind uint8

const (
	isSwitch kind = iota
	isNumber
	isText
	isList
	isIdle    // does nothing here
	isRefused // would change the result, and cannot be done
)

// one is the value of an option that has one.
func one(values []string) (string, error) {
	if len(values) != 1 {
		return "", fmt.Errorf("is a list of %d, want one value", len(values))
	}
	return strings.TrimSpace(values[0]), nil
}

// truth reads a switch.
func truth(values []string) (bool, error) {
	v, err := one(values)
	if err != nil {
		return false, err
	}
	switch strings.ToLower(v) {
	case "true", "yes", "on", "1", "1.0":
		return true, nil
	case "false", "no", "off", "none", "0", "0.0":
		return false, nil
	}
	return false, fmt.Errorf("is %.60q, want true or false", v)
}

func on(at func(*settings) *bool) place {
	return place{isSwitch, func(s *settings, values []string) (err error) {
		*at(s), err = truth(values)
		return err
	}, ""}
}

// count is a whole number from least; 64.0 is one too.
func count(least int, at func(*settings) *int) place {
	return place{isNumber, func(s *settings, values []string) error {
		v, err := one(values)
		if err != nil {
			return err
		}
		f, err := strconv.ParseFloat(v, 64)
		if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<31-1 {
			return fmt.Errorf("is %.60q, want a whole number", v)
		}
		if int(f) < least {
			return fmt.Errorf("is %s, want %d or more", v, least)
		}
		*at(s) = int(f)
		return nil
	}, ""}
}

// number is any number but infinity, and more than that if it is positive. Names of bounds are left to whoever knows more.
func number(at func(*settings) *float64) place { return bounded(math.Inf(-1), at) }

// positive is a number above 0.
func positive(at func(*settings) *float64) place { return bounded(0, at) }

// notNegative is a number from 0.
func notNegative(at func(*settings) *float64) place { return bounded(math.Nextafter(0, -1), at) }

func bounded(above float64, at func(*settings) *float64) place {
	return place{isNumber, func(s *settings, values []string) error {
		v, err := one(values)
		if err != nil {
			return err
		}
		f, err := strconv.ParseFloat(v, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Errorf("is %.60q, want a number such as 1e-4", v)
		}
		if f <= above && above < 0 {
			return fmt.Errorf("is %s, want a number from 0", v)
		}
		if f <= above {
			return fmt.Errorf("is %s, want a number above 0", v)
		}
		*at(s) = f
		return nil
	}, ""}
}

func seed(at func(*settings) *uint64) place {
	return place{isNumber, func(s *settings, values []string) error {
		v, err := one(values)
		if err != nil {
			return err
		}
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			return fmt.Errorf("is %.60q, want a whole number from 0", v)
		}
		*at(s) = n
		return nil
	}, ""}
}

func text(at func(*settings) *string) place {
	return place{isText, func(s *settings, values []string) error {
		if len(values) != 1 {
			return fmt.Errorf("is a list of %d, want one text", len(values))
		}
		*at(s) = values[0]
		return nil
	}, ""}
}

// pathOf is a text that names a file or folder.
func pathOf(at func(*settings) *string) place {
	p := text(at)
	put := p.put
	p.put = func(s *settings, values []string) error {
		if strings.ContainsFunc(strings.Join(values, ""), unicode.IsControl) {
			return fmt.Errorf(`is %.100q, which has letters that no path has: in double quotes \t, \n, \b, \f and \r are such; in TOML write single quotes or /, in JSON \\ or /`, values)
		}
		return put(s, values)
	}
	return p
}

// oneOf is a text of a few.
func oneOf(at func(*settings) *string, names ...string) place {
	return place{isText, func(s *settings, values []string) error {
		v, err := one(values)
		if err != nil {
			return err
		}
		if !slices.Contains(names, v) {
			return fmt.Errorf("is %.60q, want %s", v, strings.Join(names, ", "))
		}
		*at(s) = v
		return nil
	}, strings.Join(names, ", ")}
}

// list is any number of NAME=VALUE.
func list(at func(*settings) *[]string) place {
	return place{isList, func(s *settings, values []string) error {
		*at(s) = arguments(values)
		return nil
	}, ""}
}

// arguments takes apart what a list is given as: several values, or several NAME=VALUE in one, with blanks or commas
// between. Blanks and commas within a value stay: betas=0.9,0.99.
func arguments(values []string) []string {
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
func firstNumber(at func(*settings) *float64) place {
	p := number(at)
	return place{isList, func(s *settings, values []string) error {
		fields := strings.FieldsFunc(strings.Join(values, " "), func(r rune) bool { return strings.ContainsRune(" ,[]\t\n", r) })
		if len(fields) == 0 {
			return errors.New("is empty, want a number such as 5e-5")
		}
		return p.put(s, fields[:1])
	}, ""}
}

// size is one side or two: 512, "512,768" or [512, 768].
func size(at func(*settings) *dataset.Size) place {
	return place{isText, func(s *settings, values []string) error {
		sides := strings.Split(strings.Join(values, ","), ",")
		if len(sides) == 1 {
			sides = append(sides, sides[0])
		}
		if len(sides) != 2 {
			return fmt.Errorf("is %.60q, want a side such as 512, or width and height as 512,768", strings.Join(values, ","))
		}
		var wh [2]int
		for i := range wh {
			if err := count(1, func(*settings) *int { return &wh[i] }).put(s, sides[i:i+1]); err != nil {
				return err
			}
		}
		*at(s) = dataset.Size{W: wh[0], H: wh[1]}
		return nil
	}, ""}
}

// zoom is two numbers: "2.0,4.0".
func zoom(at func(*settings) *[2]float64) place {
	return place{isText, func(s *settings, values []string) error {
		bounds := strings.Split(strings.Join(values, ","), ",")
		if len(bounds) != 2 {
			return fmt.Errorf("is %.60q, want two numbers such as 2.0,4.0", strings.Join(values, ","))
		}
		for i := range 2 {
			if err := positive(func(s *settings) *float64 { return &at(s)[i] }).put(s, bounds[i:i+1]); err != nil {
				return err
			}
		}
		return nil
	}, ""}
}

// blocks are numbers with commas between, one for each block of the UNet.
func blocks[T int | float64](at func(*settings) *[]T, each func(func(*settings) *T) place) place {
	return place{isList, func(s *settings, values []string) error {
		parts := strings.Split(strings.Join(values, ","), ",")
		numbers := make([]T, len(parts))
		for i := range numbers {
			if err := each(func(*settings) *T { return &numbers[i] }).put(s, parts[i:i+1]); err != nil {
				return err
			}
		}
		*at(s) = numbers
		return nil
	}, ""}
}

func dims(at func(*settings) *[]int) place {
	return blocks(at, func(at func(*settings) *int) place { return count(0, at) })
}

func alphas(at func(*settings) *[]float64) place { return blocks(at, number) }

// named is a text that stands for a value.
func named[T any](at func(*settings) *T, names []string, values ...T) place {
	var name string
	p := oneOf(func(*settings) *string { return &name }, names...)
	put := p.put
	p.put = func(s *settings, v []string) error {
		if err := put(s, v); err != nil {
			return err
		}
		*at(s) = values[slices.Index(names, name)]
		return nil
	}
	return p
}

func precision(at func(*settings) *compute.DType) place {
	return named(at, []string{"float", "fp16", "bf16"}, compute.F32, compute.F16, compute.BF16)
}

func loss(at func(*settings) *compute.LossFunction) place {
	return named(at, []string{"l2", "l1", "huber", "smooth_l1"}, compute.L2, compute.L1, compute.Huber, compute.SmoothL1)
}

func interpolation(at func(*settings) *dataset.Interpolation) place {
	return place{isText, func(s *settings, values []string) error {
		v, err := one(values)
		*at(s) = dataset.Interpolation(v)
		return err
	}, "lanczos, box, nearest, bilinear, bicubic, area"}
}

// idle is an option that changes no result here. Switches do not stand with a value on a command line, others do.
var (
	idleSwitch = place{isIdle, func(s *settings, values []string) error {
		_, err := truth(values)
		return err
	}, "switch"}
	idleValue = place{isIdle, func(*settings, []string) error { return nil }, ""}
)

// refused is a switch that may only be off.
func refused(reason string) place {
	return place{isRefused, func(_ *settings, values []string) error {
		set, err := truth(values)
		if err == nil && set {
			err = errors.New("cannot be had: " + reason)
		}
		return err
	}, "switch"}
}

// refusedValue is an option that may not be given.
func refusedValue(reason string) place {
	return place{isRefused, func(*settings, []string) error { return errors.New("cannot be had: " + reason) }, ""}
}
