package compute

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestPrecision(t *testing.T) {
	for _, p := range []Precision{PrecisionFP32, PrecisionBF16, PrecisionFP16} {
		if got, err := ParsePrecision(p.String()); err != nil || got != p {
			t.Errorf("%v is read as %v, %v", p, got, err)
		}
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		got := Precision(99)
		if err := json.Unmarshal(text, &got); err != nil || got != p {
			t.Errorf("%s is read as %v, %v", text, got, err)
		}
	}
	for _, name := range []string{"", "fp8", "BF16", "Precision(9)"} {
		if _, err := ParsePrecision(name); err == nil || !strings.Contains(err.Error(), "fp32, bf16 or fp16") {
			t.Errorf("%q: %v, want an error that lists the names", name, err)
		}
	}
}
