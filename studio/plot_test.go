package studio

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
)

// TestPlot: whatever is measured, the drawing is well formed, has a text for who cannot see it, and stays within its frame.
func TestPlot(t *testing.T) {
	long := series{Name: "loss", Kind: "first"}
	for i := range 5000 {
		long.X, long.Y = append(long.X, float64(i)), append(long.Y, 0.1+0.05*math.Sin(float64(i)/100))
	}
	cases := map[string]plot{
		"nothing":     {Title: "Loss"},
		"one point":   {Title: "Loss", Series: []series{{Name: "loss", X: []float64{3}, Y: []float64{0.2}, Kind: "first"}}},
		"long":        {Title: "Loss", Series: []series{long}, Last: 10000, Marks: []plotMark{{4000, "epoch 4 <chosen>"}}},
		"no numbers":  {Title: "Loss", Series: []series{{Name: "loss", X: []float64{1, 2, 3, 4}, Y: []float64{0.2, math.NaN(), math.Inf(1), 0.1}, Kind: "first"}}},
		"constant":    {Title: "Loss", Series: []series{{Name: "loss", X: []float64{1, 2}, Y: []float64{0, 0}, Kind: "dots"}}},
		"hostile":     {ID: `"><script>`, Title: `<script>"&`, X: "<b>", Y: `"`, Series: []series{{Name: "</svg>", X: []float64{1, 2}, Y: []float64{-1e300, 1e300}, Kind: `"`}}},
		"very small":  {Title: "Loss", Series: []series{{Name: "loss", X: []float64{1, 2}, Y: []float64{1e-30, 2e-30}, Kind: "first"}}},
		"uneven ends": {Title: "Loss", Series: []series{{Name: "loss", X: []float64{1, 2, 3}, Y: []float64{1}, Kind: "first"}}},
	}
	for name, p := range cases {
		t.Run(name, func(t *testing.T) {
			svg := string(p.SVG())
			d := xml.NewDecoder(strings.NewReader(svg))
			for {
				token, err := d.Token()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatalf("%v\n%s", err, svg)
				}
				if e, ok := token.(xml.StartElement); ok && e.Name.Local == "script" {
					t.Fatalf("a script: %s", svg)
				}
			}
			if len(svg) > 40_000 || strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
				t.Errorf("%d bytes: %.2000s", len(svg), svg)
			}
			for _, row := range p.Rows() {
				if len(row) != len(p.Series)+1 {
					t.Errorf("a row of %d", len(row))
				}
			}
		})
	}
	if have, want := cases["one point"].Summary(), "loss: from 0.2 to 0.2"; !strings.Contains(have, want) {
		t.Errorf("%q does not say %q", have, want)
	}
	if rows := cases["long"].Rows(); len(rows) != plotRows {
		t.Errorf("%d rows", len(rows))
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.12345: "0.1235", 45: "45", 1200: "1,200", 0.0001: "0.0001", 12: "12", 1600: "1,600", -0.5: "-0.5"} {
		if have := figureOf(v); have != want {
			t.Errorf("%v is %q, want %q", v, have, want)
		}
	}
}
