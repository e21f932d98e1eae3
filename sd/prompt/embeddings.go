package prompt

import "slices"

// Embeddings are the textual inversions that prompts may name. They are found by the tokens of their names: in any case, within
// other text, the longest first.
type Embeddings struct {
	byFirst map[int32][]embedding
}

// embedding is a name as a prompt has it.
type embedding struct {
	name    string
	tokens  []int32
	vectors int
}

// Add makes an embedding known by its name, which stands for that many vectors.
func (e *Embeddings) Add(t Tokenizer, name string, vectors int) {
	tokens := t.Encode(name)
	if len(tokens) == 0 {
		return
	}
	if e.byFirst == nil {
		e.byFirst = make(map[int32][]embedding)
	}
	all := append(e.byFirst[tokens[0]], embedding{name, tokens, vectors})
	slices.SortStableFunc(all, func(a, b embedding) int { return len(b.tokens) - len(a.tokens) })
	e.byFirst[tokens[0]] = all
}

// at is the embedding that tokens begin with: its name, how many tokens that has and how many vectors it stands for.
func (e *Embeddings) at(tokens []int32) (name string, length, vectors int) {
	if e == nil {
		return "", 0, 0
	}
	for _, one := range e.byFirst[tokens[0]] {
		if n := len(one.tokens); n <= len(tokens) && slices.Equal(one.tokens, tokens[:n]) {
			return one.name, n, one.vectors
		}
	}
	return "", 0, 0
}
