package compute

import "fmt"

// Precision is the type in which a device computes: matrix products, and with FP16 whatever networks have between them. It is a
// flag (flag.TextVar) and a field of JSON under its name.
type Precision uint8

// The precisions of matrix products.
const (
	PrecisionFP32 Precision = iota // float32 throughout
	PrecisionBF16                  // factors rounded to bfloat16, or as finely in another form, sums in float32, everything else float32
	PrecisionFP16                  // parameters and what networks hand on in half precision, sums in float32
)

var precisions = [...]string{PrecisionFP32: "fp32", PrecisionBF16: "bf16", PrecisionFP16: "fp16"}

// Valid reports whether p is one of the constants.
func (p Precision) Valid() bool { return int(p) < len(precisions) }

// String is the name on command lines: "fp32", "bf16" or "fp16".
func (p Precision) String() string {
	if p.Valid() {
		return precisions[p]
	}
	return fmt.Sprintf("Precision(%d)", uint8(p))
}

// ParsePrecision is the precision of a name that String gives.
func ParsePrecision(name string) (Precision, error) {
	for p, known := range precisions {
		if name == known {
			return Precision(p), nil
		}
	}
	return 0, fmt.Errorf("compute: precision %.40q, want fp32, bf16 or fp16", name)
}

// MarshalText implements encoding.TextMarshaler.
func (p Precision) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Precision) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePrecision(string(text))
	return err
}
