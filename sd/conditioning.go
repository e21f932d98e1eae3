package sd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/internal/engine"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sd/prompt"
)

// The bounds of prompts: more is no prompt but a mistake.
const (
	maxParts  = 16   // between AND
	maxChunks = 64   // of a text
	maxTexts  = 1024 // chunks of all texts of a request
)

// encodedAtOnce bounds how many chunks the text encoder reads in one run, and with that its memory.
const encodedAtOnce = 16

// conditioning is what the text of a request says to the network, at every step.
type conditioning struct {
	adapters adapters
	known    *embeddings // that the prompts may name
	parts    []*textPart // a prediction each, the negative prompt's first, as everywhere in the field
	negative *textPart   // nil where it has no weight
	positive []*textPart // the parts between AND
	weights  []float32   // of the predictions in the guided one
	shares   []float64   // the parts' between AND, as the prompt has them
	tokens   int         // of each context
	padded   bool        // prompts are filled up with the empty prompt
	cut      bool        // the negative prompt is stretched or cut to the length of the others
}

// textPart is a prompt, or what stands between two AND, which may be another text at every step.
type textPart struct {
	timeline *prompt.Timeline
	texts    []*text // each once
	at       []*text // by the timeline's ends
	chunks   int     // of the longest
}

// text is what a prompt says for some steps.
type text struct {
	chunks  []prompt.Chunk
	times   int       // how many ends of the timeline it has
	context []float32 // [tokens,C]
}

// read opens the adapters of a pass and reads its prompts, which may name embeddings that adapters bring along.
func (p *Pipeline) read(one *pass) (*conditioning, error) {
	set, err := p.openAdapters(one.request)
	if err != nil {
		for _, e := range invalid.Fields(err) {
			e.Field = strings.Replace(e.Field, "Request.Prompt", one.field("Prompt"), 1)
		}
		return nil, err
	}
	c := &conditioning{adapters: set}
	if c.known, err = p.embeddingsOf(set); err == nil {
		err = p.readPrompts(c, one)
	}
	if err != nil {
		return nil, fmt.Errorf("sd: %w", err)
	}
	return c, nil
}

// readPrompts reads the prompts of a pass, of which only the positive one has tags and parts. At guidance 1 the negative
// prompt has no weight and is left out, unless the sampler wants it.
func (p *Pipeline) readPrompts(c *conditioning, one *pass) error {
	r, plan := one.request, one.plan
	guidance, total := plan.Guidance(*r.Guidance), 0.0
	words, _ := prompt.Cut(r.Prompt)
	parts := prompt.Split(words)
	if len(parts) > maxParts {
		return invalid.Field(one.field("Prompt"), len(parts), "at most %d parts between AND", maxParts)
	}
	for _, words := range parts {
		part, err := p.readPart(c, one, one.field("Prompt"), words.Text)
		if err != nil {
			return err
		}
		total += words.Weight * guidance
		c.positive, c.shares = append(c.positive, part), append(c.shares, words.Weight)
		c.weights = append(c.weights, float32(words.Weight*guidance))
	}
	if total != 1 || plan.Unconditional {
		negative, err := p.readPart(c, one, one.field("NegativePrompt"), r.NegativePrompt)
		if err != nil {
			return err
		}
		c.negative = negative
		c.parts, c.weights = []*textPart{c.negative}, append([]float32{float32(1 - total)}, c.weights...)
	}
	c.parts = append(c.parts, c.positive...)
	c.measure(r, p.networks.Tokenizer.MaxLength())
	return nil
}

// unguided is what of c counts where the negative prompt is left out: the parts of the prompt at guidance 1, the first of which
// stands in for the negative prompt too.
func (c *conditioning) unguided() *conditioning {
	alone := *c
	alone.parts, alone.weights = c.positive, make([]float32, len(c.shares))
	first := 1.0
	for i, share := range c.shares[1:] {
		alone.weights[1+i] = float32(share)
		first -= share
	}
	alone.weights[0] = float32(first)
	return &alone
}

// unscaled are the weights at guidance 1, the negative prompt's first.
func (c *conditioning) unscaled() (weights []float32) {
	rest := 1.0
	for _, share := range c.shares {
		weights = append(weights, float32(share))
		rest -= share
	}
	return append([]float32{float32(rest)}, weights...)
}

// readPart reads the text of a field at all steps.
func (p *Pipeline) readPart(c *conditioning, one *pass, field, words string) (*textPart, error) {
	reader := prompt.Reader{Tokenizer: p.networks.Tokenizer, Options: one.request.PromptOptions, Embeddings: c.known.names}
	part, err := readTimeline(reader, prompt.NewTimeline(words, one.timing()))
	if err != nil {
		return nil, &invalid.FieldError{Field: field, Err: err}
	}
	return part, nil
}

// readTimeline reads all texts of a timeline.
func readTimeline(r prompt.Reader, l *prompt.Timeline) (*textPart, error) {
	part, known, total := &textPart{timeline: l}, make(map[string]*text), 0
	for _, end := range l.Ends {
		words := l.Text(end)
		one := known[words]
		if one == nil {
			chunks, _ := r.Chunks(words)
			if len(chunks) > maxChunks {
				return nil, fmt.Errorf("it has %d chunks of tokens, at most %d are read; shorten it", len(chunks), maxChunks)
			}
			if total += len(chunks); total > maxTexts {
				return nil, fmt.Errorf("its edits make more than %d chunks of tokens; shorten it", maxTexts)
			}
			one = &text{chunks: chunks}
			known[words], part.texts = one, append(part.texts, one)
			part.chunks = max(part.chunks, len(chunks))
		}
		one.times++
		part.at = append(part.at, one)
	}
	return part, nil
}

// maxRepeated bounds how many chunks contexts are repeated to.
const maxRepeated = 16

// measure finds the length that all contexts get, so that all predictions fit into one batch. Parts of the positive prompt are stretched to
// the longest of them, as in the web UI. It runs the negative prompt by itself if that has another length; to repeat each until
// their lengths are the same comes to the same, for attention weighs what stands there twice like what stands there once. Or
// the shorter is filled up with the empty prompt: if that is asked for, or would be too long otherwise.
func (c *conditioning) measure(r Request, length int) {
	positive := longest(c.positive)
	negative := positive
	if c.negative != nil {
		negative = c.negative.chunks
	}
	if c.cut = r.PadOld && negative != positive; c.cut {
		negative = positive
	}
	longer := max(negative, positive)
	chunks := longer
	for chunks%negative != 0 || chunks%positive != 0 {
		chunks += longer
	}
	if c.padded = negative != positive && (r.PadConds || chunks > max(maxRepeated, longer)); c.padded {
		chunks = longer
	}
	c.tokens = chunks * length
}

func longest(parts []*textPart) (chunks int) {
	for _, part := range parts {
		chunks = max(chunks, part.chunks)
	}
	return chunks
}

// active is the text in force at a call of the denoiser, counted from 0.
func (part *textPart) active(call int) *text { return part.at[part.timeline.Active(call)] }

// encode turns the prompts of a pass into contexts.
func (p *Pipeline) encode(ctx context.Context, one *pass) (*conditioning, error) {
	r := one.request
	c, err := p.read(one)
	if err != nil {
		return nil, err
	}
	chunks := c.toEncode()
	var hidden []float32
	for some := range slices.Chunk(chunks, encodedAtOnce) {
		made, err := p.encodeChunks(ctx, c, some, r.ClipSkip)
		if err != nil {
			return nil, err
		}
		hidden = append(hidden, made...)
	}
	length, size := p.networks.Tokenizer.MaxLength(), len(hidden)/len(chunks)
	for _, part := range c.parts {
		hidden = part.weigh(hidden, length, size, r.PromptOptions.Emphasis)
	}
	c.fit(p.networks.Text.Config().HiddenSize, length, hidden)
	return c, nil
}

// toEncode are the chunks that the text encoder reads: those of all parts, and the empty prompt if others are filled up with it.
func (c *conditioning) toEncode() (all []prompt.Chunk) {
	for _, part := range c.parts {
		all = append(all, part.toEncode()...)
	}
	if c.padded {
		all = append(all, prompt.Chunk{})
	}
	return all
}

// embedded are the names of the embeddings that the prompts have, each once.
func (c *conditioning) embedded() (names []string) {
	for _, chunk := range c.toEncode() {
		for _, e := range chunk.Embeddings {
			if !slices.Contains(names, e.Name) {
				names = append(names, e.Name)
			}
		}
	}
	return names
}

// toEncode are the chunks of all texts, each with as many as the longest of them.
func (part *textPart) toEncode() (all []prompt.Chunk) {
	for _, one := range part.texts {
		for i := range part.chunks {
			all = append(all, one.chunk(i))
		}
	}
	return all
}

// sequences are chunks as the text encoder reads them.
func sequences(t prompt.Tokenizer, chunks []prompt.Chunk) (all [][]int32) {
	for _, chunk := range chunks {
		sequence, _ := t.Sequence(chunk.Tokens)
		all = append(all, sequence)
	}
	return all
}

// weigh takes the contexts of all texts from what the encoder made of their sequences, of which each has a length in tokens and a size in
// numbers, and weighs their words. Texts share a mean where emphasis restores it. It returns what is behind them.
func (part *textPart) weigh(hidden []float32, length, size int, e prompt.Emphasis) (rest []float32) {
	for _, one := range part.texts {
		n := part.chunks * size
		one.context, hidden = hidden[:n:n], hidden[n:]
	}
	for i := range part.chunks {
		var place []prompt.Weighted
		for _, one := range part.texts {
			place = append(place, prompt.Weighted{Hidden: one.context[i*size:][:size], Weights: tokenWeights(one.chunk(i), length), Times: one.times})
		}
		e.Apply(place)
	}
	return hidden
}

// chunk is chunk i of the text, an empty one behind its end.
func (one *text) chunk(i int) prompt.Chunk {
	if i >= len(one.chunks) {
		return prompt.Chunk{}
	}
	return one.chunks[i]
}

// tokenWeights are those of a whole chunk, start and padding included.
func tokenWeights(c prompt.Chunk, length int) []float32 {
	weights := slices.Repeat([]float32{1}, length)
	for i, w := range c.Weights {
		weights[1+i] = float32(w)
	}
	return weights
}

// fit brings all contexts, of vectors of a width, to the same length. A chunk has length tokens, and the empty prompt is one.
func (c *conditioning) fit(width, length int, empty []float32) {
	positive := longest(c.positive) * length
	for _, part := range c.parts {
		for _, one := range part.texts {
			if part != c.negative || c.cut {
				one.context = stretch(one.context, width, positive)
			}
			if c.padded {
				for len(one.context) < c.tokens*width {
					one.context = append(one.context, empty...)
				}
			}
			one.context = slices.Repeat(one.context, c.tokens*width/len(one.context))
		}
	}
}

// stretch makes a context longer by repeating its last vector, or cuts it.
func stretch(context []float32, width, tokens int) []float32 {
	last := context[len(context)-width:]
	return append(context, slices.Repeat(last, max(tokens-len(context)/width, 0))...)[:tokens*width]
}

// encodeChunks runs the text encoder on chunks, with their embeddings, and returns their hidden states, [chunks,T,C].
func (p *Pipeline) encodeChunks(ctx context.Context, c *conditioning, chunks []prompt.Chunk, clipSkip int) ([]float32, error) {
	ids := slices.Concat(sequences(p.networks.Tokenizer, chunks)...)
	embedded := slices.ContainsFunc(chunks, func(c prompt.Chunk) bool { return len(c.Embeddings) > 0 })
	f, err := p.frame(c.adapters, engine.TextKey{Sequences: len(chunks), Skipped: clipSkip - 1, Added: embedded})
	if err != nil {
		return nil, err
	}
	input, hidden := f.Mirror("input_ids"), f.Mirror("last_hidden_state")
	copy(input.I32, ids)
	if embedded {
		if err := p.embed(f.Mirror("added").F32, ids, chunks, c.known); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return hidden.F32, errors.Join(f.Do(ctx), f.Close())
}
