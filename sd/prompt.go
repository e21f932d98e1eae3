package sd

import (
	"fmt"
	"slices"

	"github.com/atelier-go/atelier/clip"
)

// commaBacktrack is how many tokens after a chunk's last comma move to the next chunk together rather than be torn
// apart: the web UI's comma_padding_backtrack.
const commaBacktrack = 20

// chunk cuts the token ids of a prompt into sequences the text encoder reads, each with its start, end and padding
// tokens: at least one, and at most maxChunks. Text between two commas stays together where that is possible.
func chunk(t *clip.Tokenizer, text string) ([][]int32, error) {
	ids := t.Encode(text)
	room := t.MaxLength() - 2
	if len(ids) > maxChunks*room {
		return nil, fmt.Errorf("sd: the prompt has %d tokens, at most %d are read; shorten it", len(ids), maxChunks*room)
	}
	comma := int32(-1)
	if c := t.Encode(","); len(c) == 1 {
		comma = c[0]
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
