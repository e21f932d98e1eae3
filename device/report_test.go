package device

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/atelier-go/atelier/cuda"
)

// TestReport shows what is there, what is not and why, on one screen.
func TestReport(t *testing.T) {
	const gb = 1_000_000_000
	cpu := Trial{Name: "cpu (avx2, fp32, 2 workers)", Took: 100 * time.Millisecond}
	for name, test := range map[string]struct {
		report Report
		want   []string
	}{
		"no driver": {
			Report{CPU: cpu, CUDA: cuda.Survey{Err: errors.New("nothing was found"), Libraries: []cuda.Library{{Name: "cuDNN", Err: errors.New("no")}}}, Auto: cpu.Name},
			[]string{"passed in 0.1 s", "none: nothing was found", "cuDNN      not used: no\n", "auto       cpu", "2.4 GB  a picture of 512×512\n"},
		},
		"a card of 3 GB": {
			Report{
				CPU: cpu, Trials: []Trial{{Name: "cuda", Err: errors.New("off by 0.5")}},
				CUDA: cuda.Survey{
					Driver: "CUDA 12.4", Cards: []cuda.Card{{Name: "RTX", Capability: "8.6", Memory: 4 * gb, Free: 3 * gb}},
					Libraries: []cuda.Library{{Name: "cuBLASLt", Version: "120903", Path: "/x"}},
				},
			},
			[]string{"RTX, compute capability 8.6, 3.0 of 4.0 GB free", "not of use: off by 0.5", "120903, /x; used where", "512×512: fits", "1024×1024: does not fit"},
		},
	} {
		text := test.report.String()
		for _, want := range append(test.want, "Nothing of CUDA has run on a card yet") {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is missing in\n%s", name, want, text)
			}
		}
		if lines := strings.Count(text, "\n"); lines > 24 {
			t.Errorf("%s: %d lines are more than a screen", name, lines)
		}
	}
}

// TestExamine looks at this computer: its processor passes, and "auto" takes something.
func TestExamine(t *testing.T) {
	if r := Examine(); r.CPU.Err != nil || r.Auto == "" || len(r.Trials) != len(r.CUDA.Cards) {
		t.Errorf("have %+v", r)
	}
}
