package rng

// seedSequence fills dst with the words that NumPy's SeedSequence(entropy, spawn_key=key,
// pool_size=pool).generate_state gives, after O'Neill's "Developing a seed_seq Alternative" (2015).
// entropy is the seed in base 2³², least significant word first.
func seedSequence(dst []uint32, pool int, entropy, key []uint32) {
	words := append([]uint32(nil), entropy...)
	if len(key) > 0 {
		for len(words) < pool {
			words = append(words, 0)
		}
		words = append(words, key...)
	}

	constant := uint32(0x43B0D7E5)
	hash := func(v uint32) uint32 {
		v ^= constant
		constant *= 0x931E8875
		v *= constant
		return v ^ v>>16
	}
	mix := func(x, y uint32) uint32 {
		r := 0xCA01F9DD*x - 0x4973F715*y
		return r ^ r>>16
	}
	mixed := make([]uint32, pool)
	for i := range mixed {
		var v uint32
		if i < len(words) {
			v = words[i]
		}
		mixed[i] = hash(v)
	}
	for from := range mixed {
		for to := range mixed {
			if from != to {
				mixed[to] = mix(mixed[to], hash(mixed[from]))
			}
		}
	}
	for i := pool; i < len(words); i++ {
		for to := range mixed {
			mixed[to] = mix(mixed[to], hash(words[i]))
		}
	}

	constant = 0x8B51F9DD
	for i := range dst {
		v := mixed[i%pool] ^ constant
		constant *= 0x58F38DED
		v *= constant
		dst[i] = v ^ v>>16
	}
}

// words32 is v in base 2³², least significant word first, at least one word.
func words32(v uint64) []uint32 {
	if v>>32 == 0 {
		return []uint32{uint32(v)}
	}
	return []uint32{uint32(v), uint32(v >> 32)}
}
