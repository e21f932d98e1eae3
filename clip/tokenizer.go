package clip

import (
	"strings"
	"sync"
	"unicode/utf8"
)

// Tokenizer is CLIP's byte-level byte-pair encoder: text to token ids and back. It is immutable as
// seen from outside and safe for concurrent use. Make one with [Default] or [OpenTokenizer].
type Tokenizer struct {
	tokens []string         // by id, in byte characters; "" where the vocabulary has a gap
	ids    map[string]int32 // the inverse of tokens

	merges   []merge          // by rank
	ranks    map[uint64]int32 // pairOf(left, right) → rank
	inner    [256]int32       // id of a byte inside a word, noID where the vocabulary has none
	final    [256]int32       // id of a byte that ends its word
	unk      int32            // stands for a missing byte; noID drops it
	bos, eos int32
	pad      int32
	length   int // tokens of a sequence, start and end included

	exact  literals       // added tokens matched in the text as given
	folded literals       // added tokens matched after normalization, so in any case
	whole  map[int32]bool // ids of both kinds

	mu    sync.Mutex
	cache map[string][]int32 // ids of short words
}

// noID marks the absence of a token.
const noID = -1

// The cache holds ids of words of at most cachedWordBytes, and is emptied when it has cachedWords.
const (
	cachedWords     = 8192
	cachedWordBytes = 32
)

// BOS is the id of the token that starts a sequence, 49406 for CLIP's vocabulary.
func (t *Tokenizer) BOS() int32 { return t.bos }

// EOS is the id of the token that ends a sequence, 49407 for CLIP's vocabulary. The text model's
// pooled output is taken at its first occurrence.
func (t *Tokenizer) EOS() int32 { return t.eos }

// Pad is the id that fills a sequence after its end: the end token in Stable Diffusion 1.x.
func (t *Tokenizer) Pad() int32 { return t.pad }

// MaxLength is the number of ids in a sequence, start and end included: 77 for Stable Diffusion 1.x.
func (t *Tokenizer) MaxLength() int { return t.length }

// VocabSize is one more than the greatest id, so the rows that an embedding table needs: 49,408 for
// CLIP's vocabulary.
func (t *Tokenizer) VocabSize() int { return len(t.tokens) }

// ID is the id of a token as vocab.json spells it: bytes in CLIP's printable characters, "</w>" at
// the end of a word. For example ",</w>" is 267, the comma that ends a word.
func (t *Tokenizer) ID(token string) (id int32, ok bool) {
	id, ok = t.ids[token]
	return id, ok
}

// Encode returns the content ids of text: no start, end or padding, and no truncation.
//
// The text is brought to Unicode normalization form C and to lower case, split into words (runs of
// letters, single digits, runs of other characters, English contractions; white space separates and
// vanishes), and each word is byte-pair encoded. Special tokens written out in the text, such as
// <|endoftext|>, become their ids. Runs of invalid UTF-8 become U+FFFD. Time is O(n log n) even if
// the whole text is one word.
func (t *Tokenizer) Encode(text string) []int32 {
	e := encoder{t: t}
	text = strings.ToValidUTF8(text, string(utf8.RuneError))
	t.exact.split(text, &e.out, func(part string) {
		t.folded.split(normalize(part), &e.out, func(part string) {
			for part != "" {
				var word string
				word, part = nextWord(part)
				e.word(word)
			}
		})
	})
	return e.out
}

// Sequence frames content ids as the text model reads them, MaxLength ids in all: the start token,
// as many of the ids as fit (75 in Stable Diffusion 1.x), the end token, and padding. It also
// returns the ids that did not fit, a part of the argument, nil if all did.
func (t *Tokenizer) Sequence(ids []int32) (sequence, dropped []int32) {
	if room := t.length - 2; len(ids) > room {
		ids, dropped = ids[:room], ids[room:]
	}
	sequence = make([]int32, 0, t.length)
	sequence = append(sequence, t.bos)
	sequence = append(sequence, ids...)
	sequence = append(sequence, t.eos)
	for len(sequence) < t.length {
		sequence = append(sequence, t.pad)
	}
	return sequence, dropped
}

// Decode is the text of ids, for people to read: words in lower case with one space after each,
// bytes that are no UTF-8 as U+FFFD, special tokens written out, unknown ids left out. Encode gives
// the same ids for the result as for the text it was encoded from (CLIP's own vocabulary).
func (t *Tokenizer) Decode(ids []int32) string {
	var text []byte
	for _, id := range ids {
		if id < 0 || int(id) >= len(t.tokens) {
			continue
		}
		token := t.tokens[id]
		if t.whole[id] {
			text = append(text, token...)
			continue
		}
		token, ends := strings.CutSuffix(token, endOfWord)
		for _, r := range token {
			if b, ok := byteOf[r]; ok {
				text = append(text, b)
			}
		}
		if ends {
			text = append(text, ' ')
		}
	}
	return strings.Trim(strings.ToValidUTF8(string(text), string(utf8.RuneError)), " ")
}

// literals are added tokens that stand for themselves wherever the text has them; the leftmost match
// counts, and the longest of several at the same place.
type literals struct {
	ids     map[string]int32
	lengths []int     // those of tokens, distinct, longest first
	first   [256]bool // bytes that a token starts with
}

// split walks text: the id of every literal goes to out, every stretch between literals to plain,
// in order.
func (l *literals) split(text string, out *[]int32, plain func(string)) {
	start := 0
	for i := 0; len(l.ids) > 0 && i < len(text); {
		id, n := l.at(text[i:])
		if n == 0 {
			i++
			continue
		}
		plain(text[start:i])
		*out = append(*out, id)
		i += n
		start = i
	}
	plain(text[start:])
}

// at is the longest literal that text begins with, and its length in bytes, 0 if there is none.
func (l *literals) at(text string) (id int32, n int) {
	if !l.first[text[0]] {
		return noID, 0
	}
	for _, n := range l.lengths {
		if n <= len(text) {
			if id, ok := l.ids[text[:n]]; ok {
				return id, n
			}
		}
	}
	return noID, 0
}
