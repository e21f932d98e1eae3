package attn

import "math"

// generic is the definition of the kernels and the set for machines without another.
var generic = kernels{
	lanes: 4, keys: 4, widths: []int{4, 2, 1},
	scores: scoresGeneric,
	soften: softenGeneric,
	weigh:  weighGeneric,

	transpose: transposeGeneric,
	expect:    expectGeneric,
	derive:    deriveGeneric,
	sumRows:   sumRowsGeneric,
	center:    centerGeneric,
	agree:     agreeGeneric,
}

func scoresGeneric(s, next, q, k []float32, d, groups int) {
	for range groups {
		scoresGroup((*[16]float32)(s), q[:4*d], k[:4*d])
		for i, x := range s[:16] {
			next[i%4] = max(next[i%4], x)
		}
		s, k = s[16:], k[4*d:]
	}
}

// scoresGroup is a group of four keys, two at a time so that the sums stay in registers.
func scoresGroup(s *[16]float32, q, k []float32) {
	for i := 0; i < 4; i += 2 {
		var a0, a1, a2, a3, b0, b1, b2, b3 float32
		for j := 0; j+4 <= len(q) && j+4 <= len(k); j += 4 {
			q, k := (*[4]float32)(q[j:]), (*[4]float32)(k[j:])
			ka, kb := k[i], k[i+1]
			a0 += q[0] * ka
			a1 += q[1] * ka
			a2 += q[2] * ka
			a3 += q[3] * ka
			b0 += q[0] * kb
			b1 += q[1] * kb
			b2 += q[2] * kb
			b3 += q[3] * kb
		}
		*(*[8]float32)(s[4*i:]) = [8]float32{a0, a1, a2, a3, b0, b1, b2, b3}
	}
}

func softenGeneric(s, state []float32, n int) {
	const L = 4
	for l := range L {
		next := state[L+l]
		correction := exp2(state[l] - next)
		sum := state[2*L+l] * correction
		for j := l; j < n*L; j += L {
			s[j] = exp2(s[j] - next)
			sum += s[j]
		}
		state[l], state[2*L+l], state[3*L+l] = next, sum, correction
	}
}

// exp2 is 2^t for t ≤ 0, with t below -125 counted as -125. 2^t = 2^n·2^f, n the integer nearest to t; 2^f
// for |f| ≤ ½ is the minimax polynomial of degree 5 with constant 1, relative error 1.6e-7.
func exp2(t float32) float32 {
	if t < -125 {
		t = -125
	}
	const magic = 3 << 22 // adding it leaves the nearest integer in the low bits
	r := t + magic
	f := t - (r - magic)
	p := ((((0.0013276471*f+0.009675541)*f+0.05550713)*f+0.2402212)*f+0.69314694)*f + 1
	return math.Float32frombits(math.Float32bits(p) + math.Float32bits(r)<<23)
}

func weighGeneric(width int, o, correction, p, v []float32, keys int) {
	const L = 4
	for c := 0; c < width; c += min(2, width) {
		weighColumns(o[c*L:], (*[L]float32)(correction), p[:keys*L], v[c:], width, min(2, width))
	}
}

// weighColumns is one or two channels of weigh.
func weighColumns(o []float32, correction *[4]float32, p, v []float32, width, columns int) {
	const L = 4
	var a0, a1, a2, a3, b0, b1, b2, b3 float32
	second := columns - 1 // the same channel twice where there is but one
	for i := 0; len(p) >= L; i += width {
		p4 := (*[L]float32)(p)
		va, vb := v[i], v[i+second]
		a0 += p4[0] * va
		a1 += p4[1] * va
		a2 += p4[2] * va
		a3 += p4[3] * va
		b0 += p4[0] * vb
		b1 += p4[1] * vb
		b2 += p4[2] * vb
		b3 += p4[3] * vb
		p = p[L:]
	}
	sums := [8]float32{a0, a1, a2, a3, b0, b1, b2, b3}
	for i := range columns * L {
		o[i] = o[i]*correction[i%L] + sums[i]
	}
}

func transposeGeneric(dst, src, scale []float32, dstStride, srcStride, rows, cols int) {
	for i := range rows {
		row := src[i*srcStride:][:cols]
		if scale == nil {
			for j, x := range row {
				dst[j*dstStride+i] = x
			}
			continue
		}
		for j, x := range row {
			dst[j*dstStride+i] = x * scale[j]
		}
	}
}

// exp2OrZero is exp2 with 0 for what that counts as -125.
func exp2OrZero(t float32) float32 {
	if t < -125 {
		return 0
	}
	return exp2(t)
}

func expectGeneric(s, x, state []float32, n int) {
	const L = 4
	s, x = s[:n*L], x[:n*L]
	for l := range L {
		next := state[L+l]
		correction := exp2OrZero(state[l] - next)
		sum, mean := state[2*L+l]*correction, state[3*L+l]*correction
		for j := l; j < len(s); j += L {
			p := exp2OrZero(s[j] - next)
			sum += p
			mean += p * x[j]
		}
		state[l], state[2*L+l], state[3*L+l] = next, sum, mean
	}
}

func deriveGeneric(s, x, _, lse, delta []float32, n int) {
	const L = 4
	s, x = s[:n*L], x[:n*L]
	for i := range s {
		s[i] = exp2OrZero(s[i] - lse[i/L])
		x[i] = s[i] * (x[i] - delta[i/L])
	}
}

func sumRowsGeneric(sum, src []float32, rows, stride int) {
	for r := range rows {
		for i, x := range src[r*stride:][:len(sum)] {
			sum[i] += x
		}
	}
}

func centerGeneric(dst, src, mean []float32, rows, stride int) {
	d := len(mean)
	for r := range rows {
		to, from := dst[r*d:][:d], src[r*stride:][:d]
		for i, m := range mean {
			to[i] = from[i] - m
		}
	}
}

// agreeGeneric adds up eight sums of every eighth element by halves.
func agreeGeneric(dst, dy, y, mean []float32, stride int) {
	d := len(mean)
	for r := range dst {
		var s [8]float32
		from := y[r*stride:][:d]
		for i, g := range dy[r*stride:][:d] {
			s[i%8] += float32(g * (from[i] - mean[i]))
		}
		dst[r] = ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
	}
}
