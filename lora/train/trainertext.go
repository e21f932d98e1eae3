package train

import (
	"fmt"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/compute"
)

// maxChunks is the largest number of chunks of a caption, that of max_token_length 225.
const maxChunks = 3

// chunkTokens is the number of tokens of a caption in a chunk, which begins and ends with one more.
const chunkTokens = 75

// captionChunks is the number of chunks for a MaxTokenLength: 0 and 75 are one, 150 two and 225 three.
func captionChunks(maxTokenLength int) (int, error) {
	switch maxTokenLength {
	case 0, chunkTokens, 2 * chunkTokens, maxChunks * chunkTokens:
		return max(1, maxTokenLength/chunkTokens), nil
	}
	return 0, fmt.Errorf("lora: captions of %d tokens, want 75, 150 or 225", maxTokenLength)
}

// CaptionIDs are the token ids of a caption, as a [Batch] has them: 77 for a maxTokenLength of 75 or 0, 154 for 150
// and 231 for 225; any other is an error. Each 77 are a chunk of 75 tokens between start and end; tokens beyond the last are cut off. A comma is
// no reason to begin a chunk, unlike in web UIs: that is how sd-scripts trains.
func CaptionIDs(t *clip.Tokenizer, caption string, maxTokenLength int) ([]int32, error) {
	chunks, err := captionChunks(maxTokenLength)
	if err != nil {
		return nil, err
	}
	return captionIDs(t, caption, chunks), nil
}

// captionIDs are the ids of a number of chunks.
func captionIDs(t *clip.Tokenizer, caption string, chunks int) (ids []int32) {
	rest := t.Encode(caption)
	for range chunks {
		var chunk []int32
		chunk, rest = t.Sequence(rest)
		ids = append(ids, chunk...)
	}
	return ids
}

// join makes one sequence of the hidden states of captions' chunks, [N·k,L,C]: the first of the first chunk, all of each but
// their first and last, and the last of the last, [N,k·(L-2)+2,C].
func join(b *compute.Builder, hidden compute.Value, chunks int) compute.Value {
	if chunks == 1 {
		return hidden
	}
	d := b.Dims(hidden, 3)
	samples, length := d[0]/chunks, d[1]
	rows := b.Reshape(hidden, samples, chunks*length, d[2])
	var parts []compute.Value
	for i := range chunks {
		part := compute.Slice{X: rows, Axis: 1, Start: i*length + 1, Length: length - 2}
		if i == 0 {
			part.Start, part.Length = 0, length-1
		}
		if i == chunks-1 {
			part.Length++
		}
		parts = append(parts, b.Op(part))
	}
	return b.Op(compute.Concat{Parts: parts, Axis: 1})
}
