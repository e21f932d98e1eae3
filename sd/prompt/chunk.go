package prompt

import "slices"

// Tokenizer turns text into token ids; clip.Tokenizer is one.
type Tokenizer interface {
	Encode(text string) []int32                  // without start, end and padding
	ID(token string) (id int32, ok bool)         // of a token as the vocabulary spells it
	MaxLength() int                              // of a chunk with its start and end
	Sequence(ids []int32) (framed, rest []int32) // a chunk with its start, end and padding
}

// Chunk is what an encoder reads at a time: at most as many tokens as fit between its start and end.
type Chunk struct {
	Tokens     []int32
	Weights    []float64 // of the tokens; what fills a chunk up has the weight 1
	Embeddings []Placed  // in the order of their places
}

// Placed is an embedding in a chunk: its vectors stand in place of those of the tokens from an index on, which are 0.
type Placed struct {
	At   int
	Name string
}

// Reader turns prompts into chunks.
type Reader struct {
	Tokenizer  Tokenizer
	Options    Options
	Embeddings *Embeddings // nil are none
}

// Chunks weighs the words of a text, which is what a [Timeline] has at a step, and cuts it into chunks, at least one. A word that brackets
// divide is two. Where a chunk is full, what follows its last comma moves to the next one, if that is not much. The count is
// what the web UI's token counter shows: the tokens, with full chunks before the last.
func (r Reader) Chunks(text string) (chunks []Chunk, count int) {
	c := chunker{room: r.Tokenizer.MaxLength() - 2, comma: -1, backtrack: defaultBacktrack, embeddings: r.Embeddings}
	if id, ok := r.Tokenizer.ID(",</w>"); ok {
		c.comma = id
	}
	if r.Options.Backtrack != nil {
		c.backtrack = *r.Options.Backtrack
	}
	c.begin()
	for _, p := range r.pieces(text) {
		if p.IsBreak() {
			c.close(false)
			continue
		}
		c.add(r.Tokenizer.Encode(p.Text), p.Weight)
	}
	if len(c.chunk.Tokens) > 0 || len(c.chunks) == 0 {
		c.close(true)
	}
	return c.chunks, c.count
}

// Count is what the web UI's token counter shows beside a prompt: the tokens of the longest text that it has in so many steps, and
// for how many there is room in as many chunks. Only a positive prompt has parts between AND.
func (r Reader) Count(text string, positive bool, steps int) (count, limit int) {
	if !r.Options.KeepComments {
		text = StripComments(text)
	}
	text, _ = Cut(text)
	parts := []Part{{text, 1}}
	if positive {
		parts = Split(text)
	}
	for _, part := range parts {
		l := NewTimeline(part.Text, Timing{Steps: steps, Old: r.Options.OldTimelines})
		for _, end := range l.Ends {
			_, n := r.Chunks(l.Text(end))
			count = max(count, n)
		}
	}
	room := r.Tokenizer.MaxLength() - 2
	return count, (max(count, 1) + room - 1) / room * room
}

// pieces are the words of a text with their weights.
func (r Reader) pieces(text string) []Part {
	if r.Options.Emphasis == NoEmphasis {
		return []Part{{text, 1}}
	}
	return Attention(text)
}

// chunker cuts tokens into chunks.
type chunker struct {
	room       int // for tokens in a chunk
	comma      int32
	backtrack  int
	embeddings *Embeddings

	chunks    []Chunk
	count     int
	chunk     Chunk
	lastComma int // its index in the chunk, -1 if there is none
}

// begin starts an empty chunk.
func (c *chunker) begin() { c.chunk, c.lastComma = Chunk{}, -1 }

// close ends the chunk.
func (c *chunker) close(last bool) {
	if last {
		c.count += len(c.chunk.Tokens)
	} else {
		c.count += c.room
	}
	c.chunks = append(c.chunks, c.chunk)
	c.begin()
}

// add appends tokens with a weight.
func (c *chunker) add(tokens []int32, weight float64) {
	for len(tokens) > 0 {
		full := len(c.chunk.Tokens) == c.room
		if tokens[0] == c.comma {
			c.lastComma = len(c.chunk.Tokens)
		} else if full && c.lastComma >= 0 && c.room-c.lastComma <= c.backtrack {
			c.tear()
		}
		if len(c.chunk.Tokens) == c.room {
			c.close(false)
		}
		name, length, vectors := c.embeddings.at(tokens)
		if length == 0 {
			c.chunk.Tokens = append(c.chunk.Tokens, tokens[0])
			c.chunk.Weights = append(c.chunk.Weights, weight)
			tokens = tokens[1:]
			continue
		}
		if len(c.chunk.Tokens)+vectors > c.room {
			c.close(false)
		}
		c.chunk.Embeddings = append(c.chunk.Embeddings, Placed{len(c.chunk.Tokens), name})
		c.chunk.Tokens = append(c.chunk.Tokens, make([]int32, vectors)...)
		c.chunk.Weights = append(c.chunk.Weights, slices.Repeat([]float64{weight}, vectors)...)
		tokens = tokens[length:]
	}
}

// tear closes the chunk behind its last comma and begins the next with what follows. Embeddings stay where they are, in the
// padding: the web UI's pictures are made so.
func (c *chunker) tear() {
	at := c.lastComma + 1
	rest := Chunk{Tokens: slices.Clone(c.chunk.Tokens[at:]), Weights: slices.Clone(c.chunk.Weights[at:])}
	c.chunk.Tokens, c.chunk.Weights = c.chunk.Tokens[:at], c.chunk.Weights[:at]
	c.close(false)
	c.chunk.Tokens, c.chunk.Weights = rest.Tokens, rest.Weights
}
