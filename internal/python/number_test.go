package python

import (
	"math"
	"testing"
)

// TestNumbers has what Python 3 makes of texts.
func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		text  string
		want  float64
		isInt bool
		fails bool
	}{
		{text: "0.5", want: 0.5}, {text: " 1. ", want: 1}, {text: ".5", want: 0.5}, {text: "1e-1", want: 0.1}, {text: "-inf", want: math.Inf(-1)},
		{text: "1e999", want: math.Inf(1)}, {text: "１２", want: 12, isInt: true}, {text: "٣", want: 3, isInt: true}, {text: "𝟛", want: 3, isInt: true},
		{text: "1_0", want: 10, isInt: true}, {text: "+8\u3000", want: 8, isInt: true}, {text: "1_0.0_1", want: 10.01},
		{text: "", fails: true}, {text: "0x1", fails: true}, {text: "0x1p3", fails: true}, {text: "0X1P-2", fails: true}, {text: "_1", fails: true}, {text: "1_", fails: true},
		{text: "1__0", fails: true}, {text: "1_.5", fails: true}, {text: "0,5", fails: true}, {text: "1 0", fails: true}, {text: "--1", fails: true},
	} {
		if got, err := Float(c.text); (err != nil) != c.fails || err == nil && got != c.want {
			t.Errorf("Float(%q) is %v (%v), want %v", c.text, got, err, c.want)
		}
		if got, err := Int(c.text); (err == nil) != c.isInt || err == nil && float64(got) != c.want {
			t.Errorf("Int(%q) is %v (%v), want %v: %t", c.text, got, err, c.want, c.isInt)
		}
	}
}
