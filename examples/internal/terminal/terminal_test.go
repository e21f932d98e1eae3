package terminal

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// drawing is the last state of a line that is drawn over and over.
func drawing(output string) string {
	return output[strings.LastIndex(output, "\r")+1:]
}

func TestBar(t *testing.T) {
	empty := strings.Repeat("-", 30)
	for _, c := range []struct {
		name        string
		elapsed     time.Duration
		done, total float64
		want        string
	}{
		{"nothing done", 5 * time.Second, 0, 20, "work   0% [" + empty + "] 0/20   "},
		{"half", 5 * time.Second, 10, 20, "work  50% [" + strings.Repeat("#", 15) + strings.Repeat("-", 15) + "] 10/20, 2 step/s, 5s left    "},
		{"slow", time.Minute, 2, 6, "work  33% [" + strings.Repeat("#", 10) + strings.Repeat("-", 20) + "] 2/6, 30 s/step, 2m0s left    "},
		{"all", 4 * time.Second, 8, 8, "work 100% [" + strings.Repeat("#", 30) + "] 8/8, 2 step/s, 0s left    "},
		{"more than all", 4 * time.Second, 9, 8, "work 100% [" + strings.Repeat("#", 30) + "] 9/8, 2.25 step/s, 0s left    "},
		{"of nothing", 4 * time.Second, 0, 0, "work   0% [" + empty + "] 0/0   "},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out strings.Builder
				b := NewBar(&out, "work", "step")
				time.Sleep(c.elapsed)
				b.Set(c.done, c.total)
				if got := drawing(out.String()); got != c.want {
					t.Errorf("have %q\nwant %q", got, c.want)
				}
			})
		})
	}
}

// TestBarRate sets a bar much more often than it is worth drawing.
func TestBarRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		b := NewBar(&out, "work", "step")
		for i := range 1000 {
			time.Sleep(time.Millisecond)
			b.Set(float64(i+1), 1000)
		}
		if n := strings.Count(out.String(), "\r"); n < 9 || n > 12 {
			t.Errorf("drawn %d times in a second, want about ten", n)
		}
		if got := drawing(out.String()); !strings.Contains(got, "1000/1000") {
			t.Errorf("at the end the bar is %q", got)
		}
		if strings.Contains(out.String(), "\n") {
			t.Error("the line ends before Done")
		}
		b.Done()
		b.Done()
		if got := out.String(); !strings.HasSuffix(got, "\n") || strings.Count(got, "\n") != 1 {
			t.Errorf("after Done the output ends in %q, want one newline", got[len(got)-3:])
		}
	})
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 kB", 1499: "1 kB", 22_400_000: "22 MB", 2_134_000_000: "2.13 GB"} {
		if got := Bytes(n); got != want {
			t.Errorf("%d bytes are %q, want %q", n, got, want)
		}
	}
}

func ExampleBytes() {
	fmt.Println(Bytes(1_720_000_000))
	// Output: 1.72 GB
}
