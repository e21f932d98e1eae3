package terminal

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// drawing is the last state of a line that is drawn over and over.
func drawing(output string) string {
	return strings.TrimRight(output[strings.LastIndex(output, "\r")+1:], " ")
}

func TestBar(t *testing.T) {
	empty, all := strings.Repeat(" ", 10), strings.Repeat("█", 10)
	for _, c := range []struct {
		name        string
		elapsed     time.Duration
		done, total int
		want        string
	}{
		{"nothing done", 5 * time.Second, 0, 20, "work:   0%|" + empty + "| 0/20 [00:05<?, ?step/s]"},
		{"half", 5 * time.Second, 10, 20, "work:  50%|█████     | 10/20 [00:05<00:05,  2.00step/s]"},
		{"slow", time.Minute, 2, 6, "work:  33%|███       | 2/6 [01:00<02:00, 30.00s/step]"},
		{"hours", 2 * time.Hour, 2, 6, "work:  33%|███       | 2/6 [2:00:00<4:00:00, 3600.00s/step]"},
		{"all", 4 * time.Second, 8, 8, "work: 100%|" + all + "| 8/8 [00:04<00:00,  2.00step/s]"},
		{"more than all", 4 * time.Second, 10, 8, "work: 100%|" + all + "| 10/8 [00:04<00:00,  2.50step/s]"},
		{"of nothing", 4 * time.Second, 0, 0, "work:   0%|" + empty + "| 0/0 [00:04<?, ?step/s]"},
		{"by a clock that stands", 0, 10, 20, "work:  50%|█████     | 10/20 [00:00<?, ?step/s]"},
		{"less than nothing", time.Second, -1, 20, "work:   0%|" + empty + "| -1/20 [00:01<?, ?step/s]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out strings.Builder
				b := NewBar(&out, "work", "step")
				b.Live = true
				b.Set(0, c.total)
				time.Sleep(c.elapsed)
				b.Set(c.done, c.total)
				b.Done()
				if got := drawing(strings.TrimSuffix(out.String(), "\n")); got != c.want {
					t.Errorf("have %q\nwant %q", got, c.want)
				}
			})
		})
	}
}

// TestBarRate sets a bar much more often than it is worth drawing.
func TestBarRate(t *testing.T) {
	for _, c := range []struct {
		name        string
		live        bool
		least, most int // drawings
	}{{"on a terminal", true, 990, 1010}, {"without one", false, 10, 12}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out strings.Builder
				b := NewBar(&out, "work", "step")
				b.Live = c.live
				for i := range 10_000 {
					time.Sleep(10 * time.Millisecond)
					b.Set(i+1, 10_000)
				}
				if n := strings.Count(out.String(), "work"); n < c.least || n > c.most {
					t.Errorf("drawn %d times in 100 s, want about %d", n, c.least)
				}
				if has := strings.Contains(out.String(), "\r"); has != c.live {
					t.Errorf("carriage returns: %v, want %v", has, c.live)
				}
				if c.live && strings.Contains(out.String(), "\n") {
					t.Error("the line ends before Done")
				}
				b.Done()
				b.Done()
				if got := out.String(); !strings.HasSuffix(got, "\n") || strings.HasSuffix(got, "\n\n") || c.live && strings.Count(got, "\n") != 1 {
					t.Errorf("after Done the output ends in %q, want one newline", got[len(got)-3:])
				}
				if want := " 10000/10000 [01:40<00:00, 100.00step/s]"; !strings.Contains(out.String(), want) {
					t.Errorf("the end does not say %q:\n%s", want, out.String())
				}
			})
		})
	}
}

// TestBarSkip works for a second a step, with a minute for something else before and between; a work that is resumed has its
// rate from what is done now.
func TestBarSkip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		b := NewBar(&out, "work", "step")
		for i := 100; i < 110; i++ {
			time.Sleep(time.Minute)
			b.Skip()
			time.Sleep(time.Second)
			b.Set(i+1, 120)
		}
		if want := " 110/120 [09:10<00:10,  1.00s/step]\n"; !strings.HasSuffix(out.String(), want) {
			t.Errorf("have %q, want %q at the end", out.String(), want)
		}
	})
}

// TestBarEndsOnce wants no second line of a work that says twice that it is done, and the last state of one that breaks off.
func TestBarEndsOnce(t *testing.T) {
	var out strings.Builder
	b := NewBar(&out, "work", "step")
	b.Done()
	if out.String() != "" {
		t.Errorf("before the work: %q", out.String())
	}
	for range 3 {
		b.Set(20, 20)
	}
	if n := strings.Count(out.String(), "20/20"); n != 1 {
		t.Errorf("%d lines, want one:\n%s", n, out.String())
	}
	out.Reset()
	b = NewBar(&out, "work", "step")
	b.Set(0, 20)
	b.Set(3, 20)
	b.Done()
	if !strings.Contains(out.String(), "3/20") {
		t.Errorf("broken off, it says %q", out.String())
	}
}

// TestBarNarrow draws on a terminal that is narrower than the line, which must not be broken: it could not be drawn over.
func TestBarNarrow(t *testing.T) {
	var out strings.Builder
	b := NewBar(&out, "work", "step")
	b.Live, b.columns = true, func() int { return 20 }
	b.Set(10, 20)
	if got, want := drawing(out.String()), "work:  50%|█████"; got != want {
		t.Errorf("have %q, want %q", got, want)
	}
}

// TestBarUnread writes to where nobody reads, which is no reason to stop.
func TestBarUnread(t *testing.T) {
	r, w := io.Pipe()
	r.CloseWithError(errors.New("gone"))
	b := NewBar(w, "work", "step")
	b.Set(10, 20)
	b.Done()
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
