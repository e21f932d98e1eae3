package clip

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// mergesText writes the merges of a tokenizer as merges.txt has them.
func mergesText(t *Tokenizer) string {
	var b strings.Builder
	b.WriteString("#version: 0.2\n")
	for _, m := range t.merges {
		fmt.Fprintf(&b, "%s %s\n", t.tokens[m.left], t.tokens[m.right])
	}
	return b.String()
}

func TestDefaultVocabulary(t *testing.T) {
	tok := Default()
	const want = "9fd691f7c8039210e0fced15865466c65820d09b63988b0174bfe25de299051a"
	if got := fmt.Sprintf("%x", sha256.Sum256([]byte(mergesText(tok)))); got != want {
		t.Errorf("SHA-256 of merges.txt\n got %s\nwant %s", got, want)
	}
	if tok.VocabSize() != 49408 || tok.MaxLength() != 77 || tok.BOS() != 49406 || tok.EOS() != 49407 || tok.Pad() != 49407 {
		t.Errorf("size %d, length %d, bos %d, eos %d, pad %d", tok.VocabSize(), tok.MaxLength(), tok.BOS(), tok.EOS(), tok.Pad())
	}
	for token, want := range map[string]int32{
		"!": 0, "!</w>": 256, ",</w>": 267, ".</w>": 269, "0</w>": 271, "9</w>": 280, "a</w>": 320,
		"Ā": 188, "Ġ": 220, "\u0143": 255, "in": 512, "th": 513, "the</w>": 518, "jekyll</w>": 49405,
	} {
		if got, ok := tok.ID(token); !ok || got != want {
			t.Errorf("ID(%q) = %d, %v, want %d", token, got, ok, want)
		}
	}
	if _, ok := tok.ID("no such token"); ok {
		t.Error("ID finds a token that does not exist")
	}
}

// clipFolder is CLIP's own vocabulary as a tokenizer folder.
func clipFolder(t testing.TB) fstest.MapFS {
	tok := Default()
	vocab, err := json.Marshal(tok.ids)
	if err != nil {
		t.Fatal(err)
	}
	return fstest.MapFS{
		"vocab.json": {Data: vocab},
		"merges.txt": {Data: []byte(mergesText(tok))},
	}
}

func TestOpenVocabAndMerges(t *testing.T) {
	folder := clipFolder(t)
	folder["tokenizer_config.json"] = &fstest.MapFile{Data: []byte(`{
		"model_max_length": 1000000000000000019884624838656, "pad_token": "!",
		"bos_token": {"__type": "AddedToken", "content": "<|startoftext|>", "normalized": true},
		"added_tokens_decoder": {"49406": {"content": "<|startoftext|>", "normalized": true}, "49408": {"content": "<dog>"}}}`)}
	folder["added_tokens.json"] = &fstest.MapFile{Data: []byte(`{"<toy>": 49409}`)}
	folder["special_tokens_map.json"] = &fstest.MapFile{Data: []byte(`{"pad_token": "<|endoftext|>", "unk_token": null}`)}
	tok, err := OpenTokenizer(folder)
	if err != nil {
		t.Fatal(err)
	}
	if tok.VocabSize() != 49410 || tok.MaxLength() != 77 || tok.Pad() != 0 {
		t.Errorf("size %d, length %d, pad %d, want 49410, 77, 0", tok.VocabSize(), tok.MaxLength(), tok.Pad())
	}
	got, want := tok.Encode("a <dog>cat <TOY>!"), []int32{320, 49408, 2368, 49409, 256}
	if !slices.Equal(got, want) {
		t.Errorf("Encode: got %v, want %v", got, want)
	}
	for _, c := range published {
		if got := tok.Encode(c.text); !strings.Contains(c.text, "\x1f") && !slices.Equal(got, c.ids) {
			t.Errorf("Encode(%+q)\n got %v\nwant %v", c.text, got, c.ids)
		}
	}
}

// testdata/small was written by Hugging Face tokenizers 0.23.3: a vocabulary without most bytes, with
// added tokens of both kinds; vectors.json holds its own ids.
func TestOpenTokenizerJSON(t *testing.T) {
	pairs, err := os.ReadFile("testdata/small/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	vectors, err := os.ReadFile("testdata/small/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var want []struct {
		Text string
		IDs  []int32
	}
	if err := json.Unmarshal(vectors, &want); err != nil || len(want) == 0 {
		t.Fatalf("vectors.json: %d vectors, %v", len(want), err)
	}
	for name, data := range map[string][]byte{"pairs": pairs, "lines": mergesAsLines(t, pairs)} {
		t.Run(name, func(t *testing.T) {
			tok, err := OpenTokenizer(fstest.MapFS{
				"tokenizer.json":        {Data: data},
				"tokenizer_config.json": {Data: []byte(`{"model_max_length": 16}`)},
			})
			if err != nil {
				t.Fatal(err)
			}
			if tok.VocabSize() != 82 || tok.BOS() != 77 || tok.EOS() != 78 || tok.Pad() != 78 || tok.MaxLength() != 16 {
				t.Errorf("size %d, bos %d, eos %d, pad %d, length %d", tok.VocabSize(), tok.BOS(), tok.EOS(), tok.Pad(), tok.MaxLength())
			}
			for _, v := range want {
				if got := tok.Encode(v.Text); !slices.Equal(got, v.IDs) {
					t.Errorf("Encode(%+q)\n got %v\nwant %v", v.Text, got, v.IDs)
				}
			}
		})
	}
}

// mergesAsLines rewrites ["a", "b"] merges in the older form "a b".
func mergesAsLines(t *testing.T, data []byte) []byte {
	var file map[string]any
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	merges := file["model"].(map[string]any)["merges"].([]any)
	for i, m := range merges {
		pair := m.([]any)
		merges[i] = pair[0].(string) + " " + pair[1].(string)
	}
	lines, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestOpenTokenizerErrors(t *testing.T) {
	const vocab = `{"a":0,"b</w>":1,"ab</w>":2,"<|startoftext|>":3,"<|endoftext|>":4}`
	good := map[string]string{"vocab.json": vocab, "merges.txt": "#version: 0.2\na b</w>\n"}
	for _, c := range []struct{ name, file, content, want string }{
		{"no merges", "merges.txt", "-", "merges.txt"},
		{"no vocabulary", "vocab.json", "-", "needs tokenizer.json, or vocab.json and merges.txt"},
		{"broken vocabulary", "vocab.json", vocab[:20], "vocab.json: unexpected end of JSON input"},
		{"null vocabulary", "vocab.json", "null", "vocabulary is empty"},
		{"text for an id", "vocab.json", `{"a":"x"}`, "vocab.json: json: cannot unmarshal string"},
		{"id too large for int32", "vocab.json", `{"a":3000000000}`, "vocab.json: json: cannot unmarshal number"},
		{"negative id", "vocab.json", strings.Replace(vocab, `:2`, `:-2`, 1), "has id -2"},
		{"huge id", "vocab.json", strings.Replace(vocab, `:2`, `:2000000000`, 1), "has id 2000000000"},
		{"shared id", "vocab.json", strings.Replace(vocab, `:2`, `:1`, 1), `"ab</w>" and "b</w>" share id 1`},
		{"empty token", "vocab.json", strings.Replace(vocab, `{`, `{"":9,`, 1), "token 9 is empty"},
		{"no end token", "vocab.json", strings.Replace(vocab, `endof`, `x`, 1), `eos_token "<|endoftext|>" is not in the vocabulary`},
		{"one word in a merge", "merges.txt", "#version: 0.2\na b</w>\nab\n", `line 3: "ab" is not two tokens`},
		{"three words in a merge", "merges.txt", "a b c\n", `line 1: "a b c" is not two tokens`},
		{"repeated merge", "merges.txt", "a b</w>\r\na b</w>\r\n", "merge 1, \"a\" + \"b</w>\", repeats merge 0"},
		{"merge of nothing known", "merges.txt", "b</w> a\n", "needs both and their concatenation"},
		{"length of nothing", "tokenizer_config.json", `{"model_max_length": 2}`, "model_max_length is 2"},
		{"half a length", "tokenizer_config.json", `{"model_max_length": 7.5}`, "model_max_length is 7.5"},
		{"unknown pad", "tokenizer_config.json", `{"pad_token": "<pad>"}`, `pad_token "<pad>"`},
		{"special token a number", "special_tokens_map.json", `{"pad_token": 7}`, "special_tokens_map.json: special token 7"},
		{"added token elsewhere", "added_tokens.json", `{"a": 9}`, `added_tokens.json: added token "a" has id 9, but the vocabulary gives it 0`},
		{"not BPE", "tokenizer.json", `{"model":{"type":"WordPiece","vocab":{"a":0}}}`, `model.type is "WordPiece"`},
		{"GPT-2", "tokenizer.json", `{"model":{"type":"BPE","vocab":{"a":0},"merges":[]}}`, "not a CLIP tokenizer"},
		{"triple merge", "tokenizer.json", `{"model":{"merges":[["a","b","c"]]}}`, `merge ["a","b","c"] is neither`},
		{"merge without a space", "tokenizer.json", `{"model":{"merges":["ab"]}}`, `"ab" is not two tokens`},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := maps.Clone(good)
			files[c.file] = c.content
			if c.content == "-" {
				delete(files, c.file)
			}
			_, err := OpenTokenizer(folderOf(files))
			if err == nil || !strings.HasPrefix(err.Error(), "clip: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v\n want clip: … %s", err, c.want)
			}
		})
	}
	if _, err := OpenTokenizer(folderOf(good)); err != nil {
		t.Errorf("the folder that the cases spoil: %v", err)
	}
	if _, err := OpenTokenizer(fstest.MapFS{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("empty folder: %v, want fs.ErrNotExist", err)
	}
	huge := folderOf(map[string]string{"vocab.json": strings.Repeat(" ", maxFileBytes+1)})
	if _, err := OpenTokenizer(huge); err == nil || !strings.Contains(err.Error(), "vocab.json is larger than") {
		t.Errorf("huge file: %v", err)
	}
}

func folderOf(files map[string]string) fstest.MapFS {
	folder := fstest.MapFS{}
	for name, content := range files {
		folder[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return folder
}

// encodeAnything must survive whatever vocabulary OpenTokenizer let through.
func encodeAnything(t *testing.T, tok *Tokenizer, err error) {
	if err != nil {
		if !strings.HasPrefix(err.Error(), "clip: ") {
			t.Errorf("error without its package: %v", err)
		}
		return
	}
	ids := tok.Encode("a photo, ab aab <|endoftext|> \xff é 12")
	for _, id := range ids {
		if id < 0 || int(id) >= tok.VocabSize() {
			t.Fatalf("id %d of %d", id, tok.VocabSize())
		}
	}
	if seq, _ := tok.Sequence(ids); len(seq) != tok.MaxLength() {
		t.Fatalf("sequence of %d ids, want %d", len(seq), tok.MaxLength())
	}
	tok.Decode(ids)
}

func FuzzOpenTokenizerJSON(f *testing.F) {
	small, err := os.ReadFile("testdata/small/tokenizer.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(small)
	f.Add([]byte(`{"added_tokens":[{"id":4,"content":" x"}],"model":{"type":"BPE","end_of_word_suffix":"</w>","vocab":{"a":0,"b</w>":1,"ab</w>":2,"<|startoftext|>":3,"<|endoftext|>":5},"merges":["a b</w>"]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		tok, err := OpenTokenizer(fstest.MapFS{"tokenizer.json": {Data: data}})
		encodeAnything(t, tok, err)
	})
}

func FuzzOpenVocabAndMerges(f *testing.F) {
	f.Add(`{"a":0,"b</w>":1,"ab</w>":2,"<|startoftext|>":3,"<|endoftext|>":4}`, "#version: 0.2\na b</w>\n",
		`{"model_max_length": 77, "added_tokens_decoder": {"5": {"content": "x y", "normalized": true}}}`)
	f.Add(`{"a":0,"aa":1,"<|startoftext|>":3,"<|endoftext|>":4}`, "a a\r\n", `{"pad_token": {"content": "a"}}`)
	f.Fuzz(func(t *testing.T, vocab, merges, config string) {
		tok, err := OpenTokenizer(folderOf(map[string]string{"vocab.json": vocab, "merges.txt": merges, "tokenizer_config.json": config}))
		encodeAnything(t, tok, err)
	})
}

func BenchmarkDefault(b *testing.B) {
	for b.Loop() {
		v, err := embedded()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := v.tokenizer(); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleOpenTokenizer() {
	tok, err := OpenTokenizer(os.DirFS("testdata/small"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(tok.VocabSize(), tok.Encode("the cat"))
	// Output: 82 [69 71]
}
