package sd

import (
	"fmt"
	"slices"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sampler"
)

// commaBacktrack is how many tokens after a chunk's last comma move to the next chunk together rather than be torn
// apart: the web UI's comma_padding_backtrack.
const commaBacktrack = 20

// tokens is what the tokenizer makes of a request's prompts.
type tokens struct {
	weights   []float32 // of each prediction in the guided one
	chunks    int       // of each prediction
	sequences [][]int32 // of all predictions, one after the other
}

// tokenize reads the prompts of a resolved request, of which only the positive one has tags. The negative prompt comes first,
// as everywhere in the field; at guidance 1 it has no weight and is left out, unless the sampler wants it. Shorter prompts are
// filled up with empty chunks, so that all can be attended to in one batch.
func (p *Pipeline) tokenize(r Request, plan *sampler.Plan) (*tokens, error) {
	guidance := plan.Guidance(*r.Guidance)
	fields, texts := []string{"Request.NegativePrompt", "Request.Prompt"}, []string{r.NegativePrompt, cutTags(r.Prompt)}
	t := &tokens{weights: []float32{float32(1 - guidance), float32(guidance)}}
	if guidance == 1 && !plan.Unconditional {
		fields, texts, t.weights = fields[1:], texts[1:], t.weights[1:]
	}
	var all [][][]int32
	for i, text := range texts {
		chunks, err := chunk(p.networks.Tokenizer, text)
		if err != nil {
			return nil, fmt.Errorf("sd: %w", &invalid.FieldError{Field: fields[i], Err: err})
		}
		t.chunks = max(t.chunks, len(chunks))
		all = append(all, chunks)
	}
	empty, _ := p.networks.Tokenizer.Sequence(nil)
	for _, chunks := range all {
		for len(chunks) < t.chunks {
			chunks = append(chunks, empty)
		}
		t.sequences = append(t.sequences, chunks...)
	}
	return t, nil
}

// chunk cuts the token ids of a prompt into sequences the text encoder reads, each with its start, end and padding
// tokens: at least one, and at most maxChunks. Text between two commas stays together where that is possible.
func chunk(t *clip.Tokenizer, text string) ([][]int32, error) {
	ids := t.Encode(text)
	room := t.MaxLength() - 2
	if len(ids) > maxChunks*room {
		return nil, fmt.Errorf("it has %d tokens, at most %d are read; shorten it", len(ids), maxChunks*room)
	}
	comma, ok := t.ID(",</w>")
	if !ok {
		comma = -1
	}
	var chunks [][]int32
	emit := func(part []int32) {
		sequence, _ := t.Sequence(part)
		chunks = append(chunks, sequence)
	}
	for len(ids) > room {
		cut := room
		if last := lastIndex(ids[:room], comma); ids[room] != comma && last >= 0 && room-last <= commaBacktrack {
			cut = last + 1
		}
		emit(ids[:cut])
		ids = ids[cut:]
	}
	if len(ids) > 0 || len(chunks) == 0 {
		emit(ids)
	}
	return chunks, nil
}

func lastIndex(ids []int32, id int32) int {
	for i, v := range slices.Backward(ids) {
		if v == id {
			return i
		}
	}
	return -1
}
