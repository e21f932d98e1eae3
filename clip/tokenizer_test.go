package clip

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// vectors checks every line {"text": …, "ids": […]} of a file.
func vectors(t *testing.T, path string) (lines int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tok := Default()
	scan := bufio.NewScanner(f)
	scan.Buffer(nil, 64<<20)
	bad := 0
	for scan.Scan() {
		lines++
		var v struct {
			Text *string
			IDs  []int32
		}
		if err := json.Unmarshal(scan.Bytes(), &v); err != nil || v.Text == nil {
			t.Fatalf("%s:%d: not a vector (%v): %.100s", path, lines, err, scan.Bytes())
		}
		if got := tok.Encode(*v.Text); !slices.Equal(got, v.IDs) {
			if bad++; bad <= 10 {
				t.Errorf("%s:%d: Encode(%+q)\n got %v\nwant %v", path, lines, *v.Text, got, v.IDs)
			}
		}
	}
	if err := scan.Err(); err != nil {
		t.Fatal(err)
	}
	if bad > 0 {
		t.Errorf("%s: %d of %d lines differ", path, bad, lines)
	}
	return lines
}

// The two files were made with Hugging Face tokenizers 0.23.3: general text, and the corners of
// normalization, word splitting and special tokens.
func TestEncodeReference(t *testing.T) {
	for name, want := range map[string]int{"tokenizer.jsonl": 1500, "tokenizer-corners.jsonl": 400} {
		t.Run(name, func(t *testing.T) {
			if got := vectors(t, filepath.Join("testdata", name)); got != want {
				t.Errorf("%d lines, want %d", got, want)
			}
		})
	}
}

// ATELIER_TOKENIZER_VECTORS lists further files of the same form.
func TestEncodeGivenVectors(t *testing.T) {
	list := os.Getenv("ATELIER_TOKENIZER_VECTORS")
	if list == "" {
		t.Skip("ATELIER_TOKENIZER_VECTORS names no file")
	}
	for _, path := range filepath.SplitList(list) {
		if vectors(t, path) == 0 {
			t.Errorf("%s is empty", path)
		}
	}
}

func TestEncodePublished(t *testing.T) {
	tok := Default()
	for _, c := range published {
		for text := range strings.SplitSeq(c.text, "\x1f") {
			if got := tok.Encode(text); !slices.Equal(got, c.ids) {
				t.Errorf("Encode(%+q)\n got %v\nwant %v", text, got, c.ids)
			}
		}
	}
}

func TestSequence(t *testing.T) {
	tok := Default()
	cats := tok.Encode(strings.Repeat("cat ", 100))
	for _, c := range []struct {
		name          string
		ids           []int32
		kept, dropped int
	}{
		{"empty", nil, 0, 0},
		{"short", cats[:4], 4, 0},
		{"full", cats[:75], 75, 0},
		{"one too many", cats[:76], 75, 1},
		{"long", cats, 75, 25},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := append([]int32{49406}, c.ids[:c.kept]...)
			for len(want) < 77 {
				want = append(want, 49407)
			}
			got, dropped := tok.Sequence(c.ids)
			if !slices.Equal(got, want) {
				t.Errorf("sequence\n got %v\nwant %v", got, want)
			}
			if len(dropped) != c.dropped {
				t.Errorf("dropped %d ids, want %d", len(dropped), c.dropped)
			}
		})
	}
	if got, _ := tok.Sequence(cats); got[75] != 2368 || got[76] != 49407 {
		t.Errorf("a long prompt ends in %v, want [2368 49407]", got[75:])
	}
}

func TestDecode(t *testing.T) {
	tok := Default()
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"A photo  of a CAT.", "a photo of a cat ."},
		{"it's 2024", "it 's 2 0 2 4"},
		{"日本語 😀", "日本語 😀"},
		{"hello<|endoftext|>world", "hello <|endoftext|>world"},
	} {
		if got := tok.Decode(tok.Encode(c.text)); got != c.want {
			t.Errorf("Decode(Encode(%q)) = %q, want %q", c.text, got, c.want)
		}
	}
	if got := tok.Decode([]int32{-1, 320, 1 << 30, 127, 2368}); got != "a \uFFFDcat" {
		t.Errorf("unknown ids and half a character: %q", got)
	}
}

func TestEncodeInvalidUTF8(t *testing.T) {
	tok := Default()
	want := tok.Encode("cat \uFFFD dog")
	if got := tok.Encode("cat \xff\xfe dog"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// long are half a million characters of each kind of text that could make an encoder take a square of its length: hours, then.
func long(yield func(name, text string) bool) {
	const size = 500_000
	for name, unit := range map[string]string{
		"one letter":   "a",
		"one word":     "thequickbrownfoxjumpsoverthelazydog",
		"words":        "a photo of an astronaut, riding a horse. ",
		"punctuation":  "!?",
		"marks":        "\u0300\u0323",
		"decomposed":   "e\u0301",
		"emoji":        "😂👍🏽",
		"spaces":       " ",
		"apostrophes":  "'",
		"invalid":      "\xff",
		"begin tokens": "<|startoftext|",
	} {
		if !yield(name, strings.Repeat(unit, size/utf8.RuneCountInString(unit))) {
			return
		}
	}
}

func TestEncodeLong(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: millions of characters")
	}
	tok := Default()
	for name, text := range long {
		ids := tok.Encode(text)
		if len(ids) == 0 && name != "spaces" {
			t.Errorf("%s: no ids", name)
		}
		if again := tok.Encode(tok.Decode(ids)); !slices.Equal(again, ids) {
			t.Errorf("%s: %d ids, but %d of the text that these stand for", name, len(ids), len(again))
		}
	}
}

func BenchmarkEncodeLong(b *testing.B) {
	for name, text := range long {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				Default().Encode(text)
			}
		})
	}
}

// The heap must find what the definition finds: repeatedly merge the pair of lowest rank everywhere.
func TestMergeMatchesDefinition(t *testing.T) {
	tok := Default()
	for _, word := range []string{
		"a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", strings.Repeat("haha", 40) + "h",
		"thequickbrownfoxjumpsoverthelazydog", strings.Repeat("!!?", 30), strings.Repeat("日本", 30),
		strings.Repeat("lalaland", 30), "\x00\x01\xff\xfe", strings.Repeat("😀", 21),
	} {
		var want []int32
		for i := range len(word) {
			if i == len(word)-1 {
				want = append(want, tok.final[word[i]])
			} else {
				want = append(want, tok.inner[word[i]])
			}
		}
		for {
			best := int32(len(tok.merges))
			for i := range len(want) - 1 {
				if rank, ok := tok.ranks[pairOf(want[i], want[i+1])]; ok {
					best = min(best, rank)
				}
			}
			if int(best) == len(tok.merges) {
				break
			}
			m := tok.merges[best]
			var merged []int32
			for i := 0; i < len(want); i++ {
				if i+1 < len(want) && want[i] == m.left && want[i+1] == m.right {
					merged = append(merged, m.joined)
					i++
				} else {
					merged = append(merged, want[i])
				}
			}
			want = merged
		}
		e := encoder{t: tok}
		e.merge(word)
		if !slices.Equal(e.out, want) {
			t.Errorf("%q\n got %v\nwant %v", word, e.out, want)
		}
	}
}

func TestEncodeConcurrently(t *testing.T) {
	tok := Default()
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			for i := range 5000 {
				text := fmt.Sprintf("w%dx%d cat", i, g)
				if ids := tok.Encode(text); ids[len(ids)-1] != 2368 {
					t.Errorf("Encode(%q) = %v", text, ids)
					return
				}
			}
		})
	}
	group.Wait()
	if n := len(tok.cache); n > cachedWords {
		t.Errorf("%d cached words, limit %d", n, cachedWords)
	}
}

func FuzzEncode(f *testing.F) {
	for _, c := range published {
		f.Add(c.text)
	}
	f.Add("\xff\xfe<|STARTOFTEXT|>\u0300" + strings.Repeat("\u0323", 40))
	f.Fuzz(func(t *testing.T, text string) {
		tok := Default()
		ids := tok.Encode(text)
		for _, id := range ids {
			if id < 0 || int(id) >= tok.VocabSize() {
				t.Fatalf("Encode(%+q) has id %d", text, id)
			}
		}
		if again := tok.Encode(tok.Decode(ids)); !slices.Equal(again, ids) {
			t.Errorf("Encode(Decode(ids)) of %+q = %+q\n got %v\nwant %v", text, tok.Decode(ids), again, ids)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	tok := Default()
	for name, text := range map[string]string{
		"text=prompt": "masterpiece, best quality, portrait of an astronaut riding a horse on mars, (rain:1.2)",
		"text=1MB":    strings.Repeat("thequickbrownfoxjumpsoverthelazydog", 1<<20/35),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				tok.Encode(text)
			}
		})
	}
}

func ExampleTokenizer() {
	tok := Default()
	ids := tok.Encode("a photo of a cat")
	fmt.Println(ids)
	sequence, dropped := tok.Sequence(ids)
	fmt.Println(len(sequence), sequence[:8], len(dropped))
	fmt.Println(tok.Decode(ids))
	// Output:
	// [320 1125 539 320 2368]
	// 77 [49406 320 1125 539 320 2368 49407 49407] 0
	// a photo of a cat
}
