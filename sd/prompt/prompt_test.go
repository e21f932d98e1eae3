package prompt

import (
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/clip"
)

// TestAttention reads weights at which the web UI fails: they are text.
func TestAttention(t *testing.T) {
	for text, want := range map[string][]Part{
		"(a:..)":        {{"a:..", 1.1}},
		"(a:+.)":        {{"a:+.", 1.1}},
		"(p:1.2.3)":     {{"p:1.2.3", 1.1}},
		"((a:.1.):1.5)": {{"a:.1.", 1.6500000000000001}},
		"(a:1-2)":       {{"a:1-2", 1.1}},
	} {
		if got := Attention(text); !slices.Equal(got, want) {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
}

// TestDepth compares the weights of deep brackets, which are multiplied together, with powers.
func TestDepth(t *testing.T) {
	for _, depth := range []int{1, exactDepth - 1, exactDepth, exactDepth + 1, 3000} {
		for _, c := range []struct {
			open, close string
			by          float64
		}{{"(", ")", roundWeight}, {"[", "]", squareWeight}, {"(", ":0.99)", 0.99}, {"(", "", roundWeight}} {
			got := Attention(strings.Repeat(c.open, depth) + "a" + strings.Repeat(c.close, depth))
			want := math.Pow(c.by, float64(depth))
			if len(got) != 1 || math.Abs(got[0].Weight/want-1) > 1e-9 {
				t.Errorf("%d times %s: %v, want %v", depth, c.open, got, want)
			}
		}
	}
}

// TestTimeline reads numbers at which the web UI fails or answers by chance.
func TestTimeline(t *testing.T) {
	for _, c := range []struct {
		text   string
		timing Timing
		want   schedule
	}{
		{"[a:b:1e400]", Timing{Steps: 20}, schedule{{20.0, "a"}}},
		{"[a:b:1e400]", Timing{Steps: 20, Hires: 12, Old: true}, schedule{{20.0, "a"}}},
		{"[a:b:-1e400]", Timing{Steps: 20}, schedule{{20.0, "b"}}},
		{"[a:b:3]]", Timing{Steps: 10}, schedule{{3.0, "a]"}, {10.0, "b]"}}},
		{"[a|b]", Timing{}, schedule{{0.0, "b"}}},
	} {
		if got := NewTimeline(c.text, c.timing).schedule(); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q, want %q", c.text, got, c.want)
		}
	}
}

func TestCount(t *testing.T) {
	r := Reader{Tokenizer: clip.Default()}
	for _, c := range []struct {
		text         string
		positive     bool
		count, limit int
	}{
		{"", true, 0, 75},
		{"a cat # and a dog", true, 2, 75},
		{"a <lora:x:1> cat AND a big cat", true, 3, 75},
		{"a cat AND dog", false, 4, 75},
		{"[a:a b c d:3]", true, 4, 75},
		{"a BREAK b", true, 76, 150},
		{strings.Repeat("a ", 75), true, 75, 75},
	} {
		if count, limit := r.Count(c.text, c.positive, 20); count != c.count || limit != c.limit {
			t.Errorf("%q has %d of %d tokens, want %d of %d", c.text, count, limit, c.count, c.limit)
		}
	}
}

// floods makes prompts of a length in bytes, of which any that takes the square of it would not end.
func floods(n int) map[string]string {
	all := make(map[string]string)
	for _, unit := range []string{
		"(", ")", "[", "]", ":", "|", "\\", "<", "<a:", "#", "\n#", "[a:", "(a:", "[a|", "a:1", ":1)", "[a:b:1", "[a:b:1]", "(a:1.1)", "[a|b]", "()", "[]",
		"AND ", "BREAK", " BREAK ", "(a", "[a", "(a[a", "a AND b:1 ", ": ", ":   1", "<a:b>", "<lora:a:1>", "<lora:", "[a:b:0.5]", "[a: b :0.5 ] ", ",", "雨(",
	} {
		all[unit] = strings.Repeat(unit, n/len(unit))
	}
	all["[[…a:b:0.5]…"] = strings.Repeat("[", n/8) + "a" + strings.Repeat(":b:0.5]", n/8)
	all["[[…]:1]:1]"] = strings.Repeat("[", n/4) + strings.Repeat(":1]", n/4)
	all["((…))"] = strings.Repeat("(", n/2) + strings.Repeat(")", n/2)
	all["(a(a…:1):1)"] = strings.Repeat("(a", n/5) + strings.Repeat(":1)", n/5)
	all["[a[a…]]"] = strings.Repeat("[a", n/3) + strings.Repeat("]", n/3)
	all["(  …"] = "(:" + strings.Repeat(" ", n)
	return all
}

// readAll goes through all stages but the tokenizer.
func readAll(text string) {
	rest, _ := Cut(StripComments(text))
	for _, part := range Split(rest) {
		l := NewTimeline(part.Text, Timing{Steps: 20})
		Attention(l.Text(l.Ends[0]))
		Attention(l.Text(l.Ends[len(l.Ends)-1]))
	}
}

// TestFloods reads floods whole, and bounds the memory that a byte of them takes.
func TestFloods(t *testing.T) {
	const most = 400 // bytes a byte
	for name, text := range floods(1 << 18) {
		if testing.Short() && len(name) > 2 {
			continue
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		readAll(text)
		runtime.ReadMemStats(&after)
		if took := (after.TotalAlloc - before.TotalAlloc) / uint64(len(text)); took > most {
			t.Errorf("%s: %d bytes a byte, want %d at most", name, took, most)
		}
	}
}

func BenchmarkMegabyte(b *testing.B) {
	for name, text := range floods(1 << 20) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				readAll(text)
			}
		})
	}
}

// FuzzPrompt looks for panics, and holds the stages to what they promise of any text.
func FuzzPrompt(f *testing.F) {
	for _, text := range []string{"a (b:1.2) [c:d:3] [e|f] BREAK g AND h :2 <lora:i:1> # j", `\(\[`, "[[a:b:1]:c:0.5] (a [b) c]", "[a|[b|c]]"} {
		f.Add(text, 10)
	}
	tokenizer := clip.Default()
	f.Fuzz(func(t *testing.T, text string, steps int) {
		steps = min(max(steps, 1), 50)
		rest, _ := Cut(StripComments(text))
		if strings.Contains(StripComments(text), "#") {
			t.Errorf("a comment is left in %q", text)
		}
		for _, part := range Split(rest) {
			l := NewTimeline(part.Text, Timing{Steps: steps})
			if !slices.IsSorted(l.Ends) || l.Ends[len(l.Ends)-1] != steps {
				t.Errorf("ends %v of %d steps", l.Ends, steps)
			}
			for _, end := range l.Ends {
				chunks, count := (Reader{Tokenizer: tokenizer}).Chunks(l.Text(end))
				if len(chunks) == 0 || count > 75*len(chunks) {
					t.Errorf("%d chunks, %d tokens", len(chunks), count)
				}
				for _, c := range chunks {
					if len(c.Tokens) > 75 || len(c.Weights) != len(c.Tokens) {
						t.Errorf("a chunk of %d tokens, %d weights", len(c.Tokens), len(c.Weights))
					}
				}
			}
		}
	})
}

// FuzzStyles reads files of styles.
func FuzzStyles(f *testing.F) {
	f.Add("name,prompt,negative_prompt\na,\"b, {prompt}\",c\n", "x", "y")
	f.Fuzz(func(t *testing.T, file, text, negative string) {
		all, err := ReadStyles(strings.NewReader(file))
		if err != nil {
			return
		}
		var names []string
		for _, s := range all {
			names = append(names, s.Name)
		}
		if len(file)*len(names) > 1000 {
			return // {prompt} twice doubles
		}
		p, n := all.Apply(text, negative, names...)
		all.Extract(p, n)
	})
}

// TestStylesFile writes a file and reads it again.
func TestStylesFile(t *testing.T) {
	want := Styles{{"photo", "photo of {prompt}, 85mm", "a \"b\""}, {"lines", "one\ntwo", ""}}
	var b strings.Builder
	if err := want.Write(&b); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadStyles(strings.NewReader(b.String())); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	for _, bad := range []string{"a,b\n1,2\n", "name\nx\n"} {
		if _, err := ReadStyles(strings.NewReader(bad)); err == nil {
			t.Errorf("%q is no file of styles, and is read", bad)
		}
	}
}
