package dataset

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func fixedRand(seed uint64) *rand.Rand { return stream(seed, itemStream, 1, 0) }

// outcomes are all captions that 400 uses give.
func outcomes(o CaptionOptions, caption string, use CaptionUse) []string {
	seen := map[string]bool{}
	for seed := range uint64(400) {
		seen[o.Apply(caption, use, fixedRand(seed))] = true
	}
	var all []string
	for c := range seen {
		all = append(all, c)
	}
	slices.Sort(all)
	return all
}

func TestCaptionOptions(t *testing.T) {
	use := CaptionUse{Epoch: 1, Step: 0, MaxSteps: 1000}
	eleven := "t1,t2,t3,t4,t5,t6,t7,t8,t9,t10,t11"
	for _, c := range []struct {
		name    string
		options CaptionOptions
		caption string
		use     CaptionUse
		want    []string // all outcomes, sorted
	}{
		{"9: prefix and suffix", CaptionOptions{Prefix: "p", Suffix: "s"}, "a, b", use, []string{"p a, b s"}},
		{"9: shuffled, one kept", CaptionOptions{Prefix: "p", Suffix: "s", Shuffle: true, KeepTokens: 1}, "a, b", use, []string{"p a, b s"}},
		{"10: unchanged", CaptionOptions{}, "a,b ,  c", use, []string{"a,b ,  c"}},
		{"10: split and joined", CaptionOptions{TagDropoutRate: 1e-300}, "a,b ,  c", use, []string{"a, b, c"}},
		{"11: separator", CaptionOptions{KeepTokensSeparator: "|||", Shuffle: true}, "a, b ||| c, d ||| e", use, []string{"a, b, c, d, e", "a, b, d, c, e"}},
		{"11: separator absent", CaptionOptions{KeepTokensSeparator: "|||", KeepTokens: 1, Shuffle: true}, "a, b, c", use, []string{"a, b, c", "a, c, b"}},
		{"separator drops empty pieces", CaptionOptions{KeepTokensSeparator: "|||", Shuffle: true}, "a,,|||c, ", use, []string{"a, c"}},
		{"without it they stay", CaptionOptions{TagDropoutRate: 1e-300}, "a,,c", use, []string{"a, , c"}},
		{"12: step 0", CaptionOptions{TokenWarmupStep: 100, TokenWarmupMin: 1}, eleven, use, []string{"t1"}},
		{"12: step 50", CaptionOptions{TokenWarmupStep: 100}, eleven, CaptionUse{1, 50, 1000}, []string{"t1, t2, t3, t4, t5, t6"}},
		{"12: step 100", CaptionOptions{TokenWarmupStep: 100}, eleven, CaptionUse{1, 100, 1000}, []string{strings.ReplaceAll(eleven, ",", ", ")}},
		{"12: a fraction of all steps", CaptionOptions{TokenWarmupStep: 0.1}, eleven, CaptionUse{1, 50, 1000}, []string{"t1, t2, t3, t4, t5, t6"}},
		{"warm-up min above the number of pieces", CaptionOptions{TokenWarmupStep: 100, TokenWarmupMin: 5}, "a, b", use, []string{"a, b"}},
		{"13: epoch 1", CaptionOptions{DropoutEveryNEpochs: 2}, "a", CaptionUse{Epoch: 1}, []string{"a"}},
		{"13: epoch 2", CaptionOptions{DropoutEveryNEpochs: 2, Prefix: "p"}, "a", CaptionUse{Epoch: 2}, []string{""}},
		{"13: epoch 3", CaptionOptions{DropoutEveryNEpochs: 2}, "a", CaptionUse{Epoch: 3}, []string{"a"}},
		{"dropout of all", CaptionOptions{DropoutRate: 1}, "a", use, []string{""}},
		{"dropout of some", CaptionOptions{DropoutRate: 0.5}, "a", use, []string{"", "a"}},
		{"14: wildcards", CaptionOptions{Wildcard: true}, "{red|blue} hat {{x}}", use, []string{"blue hat {x}", "red hat {x}"}},
		{"14: literal", CaptionOptions{}, "{red|blue} hat {{x}}", use, []string{"{red|blue} hat {{x}}"}},
		{"wildcards with empty alternative and open brace", CaptionOptions{Wildcard: true}, "a{|b} {c", use, []string{"a {c", "ab {c"}},
		{"wildcard lines", CaptionOptions{Wildcard: true}, "one\ntwo", use, []string{"one", "two"}},
		{"15: secondary separator", CaptionOptions{SecondarySeparator: ";;;"}, "a;;;b, c", use, []string{"a,b, c"}},
		{"secondary separator keeps a group together", CaptionOptions{SecondarySeparator: ";;;", Shuffle: true}, "a;;;b, c", use, []string{"a,b, c", "c, a,b"}},
		{"other separator", CaptionOptions{Separator: ";", Shuffle: true}, "a;b", use, []string{"a, b", "b, a"}},
		{"other separator, pieces dropped", CaptionOptions{Separator: ";", TagDropoutRate: 1, KeepTokens: 2}, "a;b;c", use, []string{"a, b"}},
		{"other separator untouched", CaptionOptions{Separator: ";"}, "a;b", use, []string{"a;b"}},
		{"secondary separator becomes the other", CaptionOptions{Separator: ";", SecondarySeparator: "|", Shuffle: true, KeepTokens: 2}, "a|x;b", use, []string{"a;x, b"}},
		{"wildcards with a brace inside", CaptionOptions{Wildcard: true}, "{a{b|c}", use, []string{"a{b", "c"}},
		{"wildcards in doubled braces", CaptionOptions{Wildcard: true}, "{{{a|b}}}", use, []string{"{a", "{b}"}},
		{"wildcards of nothing", CaptionOptions{Wildcard: true}, "{} } {x} é{{}}", use, []string{"{} } x é{}"}},
		{"all flexible pieces dropped", CaptionOptions{TagDropoutRate: 1, KeepTokens: 1}, "a, b, c", use, []string{"a"}},
		{"shuffle reaches every order", CaptionOptions{Shuffle: true}, "a,b,c", use, []string{"a, b, c", "a, c, b", "b, a, c", "b, c, a", "c, a, b", "c, b, a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.options.validate(); err != nil {
				t.Fatal(err)
			}
			if got := outcomes(c.options, c.caption, c.use); !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

// TestCaptionRates counts: a rate of 0.3 drops about 0.3 of captions and of flexible pieces.
func TestCaptionRates(t *testing.T) {
	const uses = 20000
	empty, kept := 0, 0
	for seed := range uint64(uses) {
		if (CaptionOptions{DropoutRate: 0.3}).Apply("a", CaptionUse{}, fixedRand(seed)) == "" {
			empty++
		}
		if strings.Contains((CaptionOptions{TagDropoutRate: 0.3}).Apply("a,b", CaptionUse{}, fixedRand(seed)), "b") {
			kept++
		}
	}
	// Five standard deviations of a binomial are 324.
	if empty < 0.3*uses-324 || empty > 0.3*uses+324 || kept < 0.7*uses-324 || kept > 0.7*uses+324 {
		t.Errorf("%d of %d captions dropped at rate 0.3, %d of %d pieces kept", empty, uses, kept, uses)
	}
}

func TestCaptionOptionsRefuse(t *testing.T) {
	nan := 0.0
	nan /= nan
	for _, o := range []CaptionOptions{{DropoutRate: 1.5}, {DropoutRate: nan}, {TagDropoutRate: -1}, {DropoutEveryNEpochs: -1}, {KeepTokens: -2}, {TokenWarmupStep: nan}, {TokenWarmupMin: -1}} {
		if o.validate() == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}

func TestParseCaption(t *testing.T) {
	for _, c := range []struct {
		name, file string
		wildcards  bool
		want       string
		wantErr    string
	}{
		{"5: first line, stripped", "  a cat, red \nsecond", false, "a cat, red", ""},
		{"Windows line ends", "a cat\r\nsecond\r\n", false, "a cat", ""},
		{"byte order mark", "\ufeffa cat", false, "a cat", ""},
		{"wildcards keep lines", " a \n\n b\r\n", true, "a\nb", ""},
		{"one blank line", "\n", false, "", ""},
		{"7: zero bytes", "", false, "", "empty"},
		{"7: Latin-1", "caf\xe9", false, "", "not UTF-8"},
		{"UTF-8", "café 写真 🎉", false, "café 写真 🎉", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseCaption([]byte(c.file), c.wildcards)
			if c.wantErr == "" && (err != nil || got != c.want) || c.wantErr != "" && (err == nil || !strings.Contains(err.Error(), c.wantErr)) {
				t.Errorf("got %q, %v, want %q, error %q", got, err, c.want, c.wantErr)
			}
		})
	}
}

func TestCaptionCandidates(t *testing.T) {
	for _, c := range []struct {
		picture string
		want    []string
	}{
		{"dir/cat.png", []string{"dir/cat.txt"}},
		{"dir/a_b_c_d.png", []string{"dir/a_b_c_d.txt"}},
		{"dir/cat_100_120_40_50.png", []string{"dir/cat_100_120_40_50.txt", "dir/cat.txt"}},
		{"12_sks/cat_1_2_3.png", []string{"12_sks/cat_1_2_3.txt", "12.txt"}}, // underscores of folders count too
	} {
		if got := captionCandidates(c.picture, ".txt"); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.picture, got, c.want)
		}
	}
}

func FuzzCaption(f *testing.F) {
	f.Add([]byte("{a|b}, c ||| d;;;e\nsecond"), uint64(1), uint8(255))
	f.Add([]byte("}}{{ {|}\r\n\ufeff"), uint64(2), uint8(0x2a))
	f.Fuzz(func(t *testing.T, file []byte, seed uint64, bits uint8) {
		on := func(i int) bool { return bits>>i&1 == 1 }
		caption, err := parseCaption(file, on(0))
		if err != nil {
			return
		}
		o := CaptionOptions{Wildcard: on(0), Shuffle: on(1), KeepTokens: int(bits >> 6)}
		if on(2) {
			o.KeepTokensSeparator = "|||"
		}
		if on(3) {
			o.TagDropoutRate, o.DropoutRate = 0.5, 0.1
		}
		if on(4) {
			o.TokenWarmupStep, o.TokenWarmupMin = 100, int(bits>>5)
		}
		if on(5) {
			o.SecondarySeparator = ";;;"
		}
		use := CaptionUse{Epoch: 1, Step: int(bits), MaxSteps: 10}
		first := o.Apply(caption, use, fixedRand(seed))
		if again := o.Apply(caption, use, fixedRand(seed)); again != first {
			t.Errorf("%q gives %q and then %q", caption, first, again)
		}
		if !utf8.ValidString(first) {
			t.Errorf("%q is no UTF-8", first)
		}
	})
}
