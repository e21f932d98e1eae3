package clip

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// endOfWord marks a token that ends a word.
const endOfWord = "</w>"

// Limits on what a tokenizer folder may hold, far above any vocabulary of CLIP's kind.
const (
	maxFileBytes  = 64 << 20
	maxTokens     = 1 << 20 // ids lie below
	maxTokenBytes = 1 << 10
	maxSequence   = 1 << 16
)

// byteChars spells bytes as printable characters, in the order of their ids: byteChars[i] stands for
// the byte byteOf[byteChars[i]]. Printable Latin-1 stands for itself and comes first; the other 68
// bytes follow as U+0100, U+0101, …
var byteChars = func() (chars [256]rune) {
	n, moved := 0, 0
	for b := range rune(256) {
		if printable(b) {
			chars[n] = b
			n++
		}
	}
	for ; n < 256; n++ {
		chars[n] = rune(256 + moved)
		moved++
	}
	return chars
}()

var byteOf = func() map[rune]byte {
	bytes := make(map[rune]byte, 256)
	moved := rune(256)
	for b := range rune(256) {
		if printable(b) {
			bytes[b] = byte(b)
		} else {
			bytes[moved] = byte(b)
			moved++
		}
	}
	return bytes
}()

func printable(b rune) bool {
	return '!' <= b && b <= '~' || 0xA1 <= b && b <= 0xAC || 0xAE <= b && b <= 0xFF
}

//go:embed data/merges.txt.gz
var mergesGz []byte

// Default is the tokenizer of CLIP's own vocabulary of 49,408 tokens, with Stable Diffusion 1.x's
// padding and length. It is built at the first call, in some tens of milliseconds, and shared.
func Default() *Tokenizer { return builtIn() }

// builtIn panics only if the embedded file is damaged, which the package's tests rule out.
var builtIn = sync.OnceValue(func() *Tokenizer {
	v, err := embedded()
	if err != nil {
		panic(err)
	}
	t, err := v.tokenizer()
	if err != nil {
		panic(err)
	}
	return t
})

// embedded is the vocabulary that the embedded merges define.
func embedded() (*vocabulary, error) {
	z, err := gzip.NewReader(bytes.NewReader(mergesGz))
	if err != nil {
		return nil, fmt.Errorf("clip: embedded merges: %w", err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return nil, fmt.Errorf("clip: embedded merges: %w", err)
	}
	merges, err := parseMerges(text)
	if err != nil {
		return nil, err
	}
	return &vocabulary{ids: idsOf(merges), merges: merges, special: clipSpecial}, nil
}

// idsOf is the vocabulary that follows from a list of merges: all bytes, all bytes at the end of a
// word, one token per merge, start and end.
func idsOf(merges [][2]string) map[string]int32 {
	ids := make(map[string]int32, 512+len(merges)+2)
	for i, c := range byteChars {
		ids[string(c)] = int32(i)
		ids[string(c)+endOfWord] = int32(256 + i)
	}
	for _, m := range merges {
		if joined := m[0] + m[1]; !contains(ids, joined) {
			ids[joined] = int32(len(ids))
		}
	}
	for _, token := range [...]string{clipSpecial.bos, clipSpecial.eos} {
		if !contains(ids, token) {
			ids[token] = int32(len(ids))
		}
	}
	return ids
}

func contains(ids map[string]int32, token string) bool {
	_, ok := ids[token]
	return ok
}

// OpenTokenizer reads the tokenizer/ folder of a model, fsys being rooted in that folder, as
// os.DirFS("model/tokenizer") is. It takes tokenizer.json if there is one, else vocab.json and
// merges.txt, and honours special_tokens_map.json, tokenizer_config.json (special tokens, added
// tokens, model_max_length) and added_tokens.json where they exist. Without a model_max_length, or
// with the huge one that means "unknown", sequences have 77 ids.
//
// Errors name the file and what is wrong with it; errors.Is(err, fs.ErrNotExist) tells a folder that
// has no vocabulary.
func OpenTokenizer(fsys fs.FS) (*Tokenizer, error) {
	v := vocabulary{special: clipSpecial}
	err := v.readTokenizerJSON(fsys)
	if errors.Is(err, fs.ErrNotExist) {
		err = v.readVocabAndMerges(fsys)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("clip: a tokenizer folder needs tokenizer.json, or vocab.json and merges.txt: %w", err)
		}
	}
	if err != nil {
		return nil, err
	}
	for _, read := range []func(fs.FS) error{v.readSpecialTokensMap, v.readTokenizerConfig, v.readAddedTokens} {
		if err := read(fsys); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return v.tokenizer()
}

// vocabulary is what the files of a tokenizer folder say.
type vocabulary struct {
	ids     map[string]int32
	merges  [][2]string // by rank
	added   []addedToken
	special specialTokens
	length  int // tokens of a sequence; 0 means CLIP's 77
}

// addedToken is recognised as a whole, before words are split.
type addedToken struct {
	file    string // that declares it, for errors
	content string
	id      int32
	folded  bool // look for it in normalized text
}

// specialTokens are the tokens with a role, by their text.
type specialTokens struct {
	bos, eos, unk, pad string
	// CLIP finds its start token after lower-casing and its end token before: <|STARTOFTEXT|> is
	// special, <|ENDOFTEXT|> is not.
	bosFolded, eosFolded bool
}

var clipSpecial = specialTokens{
	bos: "<|startoftext|>", eos: "<|endoftext|>", unk: "<|endoftext|>", pad: "<|endoftext|>",
	bosFolded: true,
}

// read returns the content of a file, refusing what is too large to be a vocabulary.
func read(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("clip: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("clip: %s: %w", name, err)
	}
	if len(data) > maxFileBytes {
		return nil, fmt.Errorf("clip: %s is larger than %d bytes, so it is no CLIP vocabulary", name, maxFileBytes)
	}
	return data, nil
}

// readJSON decodes a file into v.
func readJSON(fsys fs.FS, name string, v any) error {
	data, err := read(fsys, name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("clip: %s: %w", name, err)
	}
	return nil
}

func (v *vocabulary) readVocabAndMerges(fsys fs.FS) error {
	if err := readJSON(fsys, "vocab.json", &v.ids); err != nil {
		return err
	}
	text, err := read(fsys, "merges.txt")
	if err != nil {
		return err
	}
	v.merges, err = parseMerges(text)
	return err
}

// parseMerges reads merges.txt: a "#version" line, then "left right" on each line, by rank.
func parseMerges(text []byte) ([][2]string, error) {
	merges := make([][2]string, 0, min(bytes.Count(text, []byte("\n"))+1, maxTokens))
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimRight(line, "\r\n")
		if line == "" || number == 1 && strings.Contains(line, "#version") {
			continue
		}
		m, err := parseMerge(line)
		if err != nil {
			return nil, fmt.Errorf("clip: merges.txt: line %d: %w", number, err)
		}
		if len(merges) == maxTokens {
			return nil, fmt.Errorf("clip: merges.txt: more than %d merges", maxTokens)
		}
		merges = append(merges, m)
	}
	return merges, nil
}

func parseMerge(line string) (m [2]string, err error) {
	left, right, ok := strings.Cut(line, " ")
	if !ok || left == "" || right == "" || strings.Contains(right, " ") {
		return m, fmt.Errorf("%.80q is not two tokens with a space between", line)
	}
	return [2]string{left, right}, nil
}

func (v *vocabulary) readTokenizerJSON(fsys fs.FS) error {
	const name = "tokenizer.json"
	var file struct {
		AddedTokens []struct {
			ID         int32
			Content    string
			Normalized bool
		} `json:"added_tokens"`
		Model struct {
			Type      string
			Vocab     map[string]int32
			Merges    []jsonMerge
			UnkToken  *string `json:"unk_token"`
			EndOfWord *string `json:"end_of_word_suffix"`
			Prefix    *string `json:"continuing_subword_prefix"`
		}
	}
	if err := readJSON(fsys, name, &file); err != nil {
		return err
	}
	model := &file.Model
	switch {
	case model.Type != "" && model.Type != "BPE":
		return fmt.Errorf("clip: %s: model.type is %.80q, CLIP's is \"BPE\"", name, model.Type)
	case model.EndOfWord == nil || *model.EndOfWord != endOfWord:
		return fmt.Errorf("clip: %s: model.end_of_word_suffix is not %q, so this is not a CLIP tokenizer", name, endOfWord)
	case model.Prefix != nil && *model.Prefix != "":
		return fmt.Errorf("clip: %s: model.continuing_subword_prefix is %.80q, CLIP has none", name, *model.Prefix)
	}
	v.ids = model.Vocab
	v.merges = make([][2]string, len(model.Merges))
	for i, m := range model.Merges {
		v.merges[i] = m
	}
	if model.UnkToken != nil {
		v.special.unk = *model.UnkToken
	}
	for _, a := range file.AddedTokens {
		v.added = append(v.added, addedToken{name, a.Content, a.ID, a.Normalized})
	}
	return nil
}

// jsonMerge is a merge written as "a b" or as ["a", "b"].
type jsonMerge [2]string

func (m *jsonMerge) UnmarshalJSON(data []byte) error {
	if data[0] == '"' {
		var line string
		if err := json.Unmarshal(data, &line); err != nil {
			return err
		}
		parsed, err := parseMerge(line)
		*m = parsed
		return err
	}
	var parts []string
	if err := json.Unmarshal(data, &parts); err != nil || len(parts) != 2 || parts[0] == "" || parts[1] == "" {
		return fmt.Errorf("merge %.80s is neither \"a b\" nor [\"a\", \"b\"]", data)
	}
	*m = jsonMerge(parts)
	return nil
}

// jsonToken is a special token written as "<|endoftext|>", as an object with that content, or as
// null where there is none.
type jsonToken struct {
	set     bool
	content string
	folded  *bool // nil if the file does not say
}

func (t *jsonToken) UnmarshalJSON(data []byte) error {
	switch data[0] {
	case '"':
		t.set = true
		return json.Unmarshal(data, &t.content)
	case '{':
		var object struct {
			Content    string
			Normalized *bool
		}
		if err := json.Unmarshal(data, &object); err != nil {
			return err
		}
		t.set, t.content, t.folded = true, object.Content, object.Normalized
		return nil
	case 'n':
		return nil
	}
	return fmt.Errorf("special token %.80s is neither text nor an object with content", data)
}

// specialTokensJSON is the part that special_tokens_map.json and tokenizer_config.json share.
type specialTokensJSON struct {
	BOS jsonToken `json:"bos_token"`
	EOS jsonToken `json:"eos_token"`
	UNK jsonToken `json:"unk_token"`
	Pad jsonToken `json:"pad_token"`
}

func (j *specialTokensJSON) apply(s *specialTokens) {
	text := func(dst *string, t jsonToken) {
		if t.set {
			*dst = t.content
		}
	}
	text(&s.bos, j.BOS)
	text(&s.eos, j.EOS)
	text(&s.unk, j.UNK)
	text(&s.pad, j.Pad)
	if j.BOS.folded != nil {
		s.bosFolded = *j.BOS.folded
	}
	if j.EOS.folded != nil {
		s.eosFolded = *j.EOS.folded
	}
}

func (v *vocabulary) readSpecialTokensMap(fsys fs.FS) error {
	var file specialTokensJSON
	if err := readJSON(fsys, "special_tokens_map.json", &file); err != nil {
		return err
	}
	file.apply(&v.special)
	return nil
}

func (v *vocabulary) readTokenizerConfig(fsys fs.FS) error {
	const name = "tokenizer_config.json"
	var file struct {
		specialTokensJSON
		MaxLength *float64 `json:"model_max_length"`
		Added     map[int32]struct {
			Content    string
			Normalized bool
		} `json:"added_tokens_decoder"`
	}
	if err := readJSON(fsys, name, &file); err != nil {
		return err
	}
	file.apply(&v.special)
	if n := file.MaxLength; n != nil && *n <= maxSequence {
		if *n < 3 || *n != float64(int(*n)) {
			return fmt.Errorf("clip: %s: model_max_length is %v, want a whole number of at least 3 (77 for Stable Diffusion 1.x)", name, *n)
		}
		v.length = int(*n)
	}
	for id, a := range file.Added {
		v.added = append(v.added, addedToken{name, a.Content, id, a.Normalized})
	}
	return nil
}

func (v *vocabulary) readAddedTokens(fsys fs.FS) error {
	const name = "added_tokens.json"
	var file map[string]int32
	if err := readJSON(fsys, name, &file); err != nil {
		return err
	}
	for content, id := range file {
		known := slices.ContainsFunc(v.added, func(a addedToken) bool { return a.content == content })
		if !known && content != v.special.bos && content != v.special.eos {
			v.added = append(v.added, addedToken{name, content, id, true})
		}
	}
	return nil
}

// tokenizer checks the vocabulary and builds the tables that encoding needs.
func (v *vocabulary) tokenizer() (*Tokenizer, error) {
	if len(v.ids) == 0 {
		return nil, errors.New("clip: the vocabulary is empty")
	}
	if err := v.addTokens(); err != nil {
		return nil, err
	}
	t := &Tokenizer{ids: v.ids, length: v.length, cache: map[string][]int32{}}
	if t.length == 0 {
		t.length = 77
	}
	if err := v.fillTokens(t); err != nil {
		return nil, err
	}
	if err := v.fillMerges(t); err != nil {
		return nil, err
	}
	if err := v.fillSpecial(t); err != nil {
		return nil, err
	}
	for _, c := range byteChars {
		b := byteOf[c]
		t.inner[b], t.final[b] = t.find(string(c)), t.find(string(c)+endOfWord)
	}
	return t, nil
}

// addTokens puts the added tokens into the vocabulary.
func (v *vocabulary) addTokens() error {
	for _, a := range v.added {
		if id, ok := v.ids[a.content]; ok && id != a.id {
			return fmt.Errorf("clip: %s: added token %.80q has id %d, but the vocabulary gives it %d", a.file, a.content, a.id, id)
		}
		v.ids[a.content] = a.id
	}
	return nil
}

// fillTokens inverts the vocabulary.
func (v *vocabulary) fillTokens(t *Tokenizer) error {
	var last int32
	for token, id := range v.ids {
		switch {
		case id < 0 || id >= maxTokens:
			return fmt.Errorf("clip: token %.80q has id %d, ids lie in 0..%d", token, id, maxTokens-1)
		case token == "":
			return fmt.Errorf("clip: token %d is empty", id)
		case len(token) > maxTokenBytes:
			return fmt.Errorf("clip: token %d is longer than %d bytes", id, maxTokenBytes)
		}
		last = max(last, id)
	}
	t.tokens = make([]string, last+1)
	for token, id := range v.ids {
		if other := t.tokens[id]; other != "" {
			return fmt.Errorf("clip: tokens %.80q and %.80q share id %d", min(token, other), max(token, other), id)
		}
		t.tokens[id] = token
	}
	return nil
}

// fillMerges turns merges of texts into merges of ids.
func (v *vocabulary) fillMerges(t *Tokenizer) error {
	t.merges = make([]merge, len(v.merges))
	t.ranks = make(map[uint64]int32, len(v.merges))
	for rank, m := range v.merges {
		left, right, joined := t.find(m[0]), t.find(m[1]), t.find(m[0]+m[1])
		if left == noID || right == noID || joined == noID {
			return fmt.Errorf("clip: merge %d, %.80q + %.80q, needs both and their concatenation in the vocabulary", rank, m[0], m[1])
		}
		pair := pairOf(left, right)
		if first, ok := t.ranks[pair]; ok {
			return fmt.Errorf("clip: merge %d, %.80q + %.80q, repeats merge %d", rank, m[0], m[1], first)
		}
		t.merges[rank] = merge{left, right, joined}
		t.ranks[pair] = int32(rank)
	}
	return nil
}

// fillSpecial resolves the tokens with a role and gathers the literals.
func (v *vocabulary) fillSpecial(t *Tokenizer) error {
	s := v.special
	t.bos, t.eos, t.pad, t.unk = t.find(s.bos), t.find(s.eos), t.find(s.pad), t.find(s.unk)
	for _, r := range []struct {
		role, token string
		id          int32
	}{{"bos_token", s.bos, t.bos}, {"eos_token", s.eos, t.eos}, {"pad_token", s.pad, t.pad}} {
		if r.id == noID {
			return fmt.Errorf("clip: %s %.80q is not in the vocabulary", r.role, r.token)
		}
	}
	folded := map[string]bool{s.bos: s.bosFolded, s.eos: s.eosFolded}
	for _, a := range v.added {
		folded[a.content] = a.folded
	}
	exact, normalized := map[string]int32{}, map[string]int32{}
	t.whole = make(map[int32]bool, len(folded))
	for token, fold := range folded {
		t.whole[t.ids[token]] = true
		if !utf8.ValidString(token) {
			continue // the text never has it
		}
		if fold {
			normalized[normalize(token)] = t.ids[token]
		} else {
			exact[token] = t.ids[token]
		}
	}
	t.exact, t.folded = newLiterals(exact), newLiterals(normalized)
	return nil
}

// find is the id of a token, or noID.
func (t *Tokenizer) find(token string) int32 {
	if id, ok := t.ids[token]; ok {
		return id
	}
	return noID
}

func newLiterals(ids map[string]int32) literals {
	l := literals{ids: ids}
	for token := range ids {
		l.first[token[0]] = true
		if !slices.Contains(l.lengths, len(token)) {
			l.lengths = append(l.lengths, len(token))
		}
	}
	slices.Sort(l.lengths)
	slices.Reverse(l.lengths)
	return l
}
