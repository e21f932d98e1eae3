package rng

// mt19937 is the Mersenne twister of Matsumoto and Nishimura, "Mersenne Twister: A 623-Dimensionally
// Equidistributed Uniform Pseudo-Random Number Generator" (1998).
type mt19937 struct {
	state [624]uint32
	next  int // index of the next word to hand out; 624 calls for a new batch
}

func (m *mt19937) seed(seed uint32) {
	m.state[0] = seed
	for i := 1; i < len(m.state); i++ {
		previous := m.state[i-1]
		m.state[i] = 1812433253*(previous^previous>>30) + uint32(i)
	}
	m.next = len(m.state)
}

// uint32 is the next word of the stream.
func (m *mt19937) uint32() uint32 {
	if m.next >= len(m.state) {
		m.twist()
	}
	y := m.state[m.next]
	m.next++
	y ^= y >> 11
	y ^= y << 7 & 0x9D2C5680
	y ^= y << 15 & 0xEFC60000
	return y ^ y>>18
}

// uint64 is made of the next two words, the first being the upper half.
func (m *mt19937) uint64() uint64 {
	high := uint64(m.uint32())
	return high<<32 | uint64(m.uint32())
}

func (m *mt19937) twist() {
	const n, middle = len(m.state), 397
	for i := range n {
		y := m.state[i]&0x80000000 | m.state[(i+1)%n]&0x7FFFFFFF
		m.state[i] = m.state[(i+middle)%n] ^ y>>1 ^ -(y&1)&0x9908B0DF
	}
	m.next = 0
}
