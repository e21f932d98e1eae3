package clip

// merge is one byte-pair merge: the tokens left and right, side by side, become the token joined.
type merge struct {
	left, right, joined int32
}

// pairOf packs two adjacent ids into a map key.
func pairOf(left, right int32) uint64 { return uint64(uint32(left))<<32 | uint64(uint32(right)) }

// encoder is the work space of one Encode.
type encoder struct {
	t   *Tokenizer
	out []int32

	// The symbols of the word at work, a linked list by position of each symbol's first byte.
	symbol     []int32
	prev, next []int32 // -1 at the ends
	rank       []int32 // the rank of the merge of this symbol with the next, -1 if there is none
	queue      minHeap // entries are rank<<32 | position; entries whose rank changed meanwhile are stale
}

// word appends the ids of one word to out.
func (e *encoder) word(word string) {
	if word == "" {
		return
	}
	short := len(word) <= cachedWordBytes
	if short {
		e.t.mu.Lock()
		ids, ok := e.t.cache[word]
		e.t.mu.Unlock()
		if ok {
			e.out = append(e.out, ids...)
			return
		}
	}
	start := len(e.out)
	e.merge(word)
	if short {
		ids := append([]int32(nil), e.out[start:]...)
		e.t.mu.Lock()
		if len(e.t.cache) >= cachedWords {
			clear(e.t.cache)
		}
		// The key must not keep the whole prompt in memory.
		e.t.cache[string([]byte(word))] = ids
		e.t.mu.Unlock()
	}
}

// merge byte-pair encodes one word: while two adjacent symbols are a known merge, the merge of lowest
// rank is applied, leftmost first. With a heap of candidates this is O(n log n) in the word's bytes.
func (e *encoder) merge(word string) {
	e.symbol, e.queue = e.symbol[:0], e.queue[:0]
	for i := range len(word) {
		id := e.t.inner[word[i]]
		if i == len(word)-1 {
			id = e.t.final[word[i]]
		}
		if id == noID {
			id = e.t.unk
		}
		if id != noID {
			e.symbol = append(e.symbol, id)
		}
	}
	n := len(e.symbol)
	if n == 0 {
		return
	}
	e.prev, e.next, e.rank = resized(e.prev, n), resized(e.next, n), resized(e.rank, n)
	for i := range n {
		e.prev[i], e.next[i] = int32(i-1), int32(i+1)
	}
	e.next[n-1] = -1
	for i := range n {
		e.consider(int32(i))
	}
	for len(e.queue) > 0 {
		top := e.queue.pop()
		rank, at := int32(top>>32), int32(uint32(top))
		if e.rank[at] != rank {
			continue
		}
		e.symbol[at] = e.t.merges[rank].joined
		gone := e.next[at]
		e.rank[gone] = -1
		e.next[at] = e.next[gone]
		if e.next[at] >= 0 {
			e.prev[e.next[at]] = at
		}
		e.consider(at)
		if e.prev[at] >= 0 {
			e.consider(e.prev[at])
		}
	}
	for i := int32(0); i >= 0; i = e.next[i] {
		e.out = append(e.out, e.symbol[i])
	}
}

// consider looks up the merge of the symbol at a position with its successor and queues it.
func (e *encoder) consider(at int32) {
	e.rank[at] = -1
	if e.next[at] < 0 {
		return
	}
	if rank, ok := e.t.ranks[pairOf(e.symbol[at], e.symbol[e.next[at]])]; ok {
		e.rank[at] = rank
		e.queue.push(uint64(rank)<<32 | uint64(at))
	}
}

// resized is s with length n, contents undefined.
func resized(s []int32, n int) []int32 {
	if cap(s) < n {
		return make([]int32, n)
	}
	return s[:n]
}

// minHeap is a binary heap, smallest first. container/heap would box every element.
type minHeap []uint64

func (h *minHeap) push(v uint64) {
	q := append(*h, v)
	i := len(q) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if q[parent] <= v {
			break
		}
		q[i] = q[parent]
		i = parent
	}
	q[i] = v
	*h = q
}

func (h *minHeap) pop() uint64 {
	q := *h
	top, v := q[0], q[len(q)-1]
	q = q[:len(q)-1]
	*h = q
	for i := 0; len(q) > 0; {
		child := 2*i + 1
		if child+1 < len(q) && q[child+1] < q[child] {
			child++
		}
		if child >= len(q) || v <= q[child] {
			q[i] = v
			break
		}
		q[i] = q[child]
		i = child
	}
	return top
}
