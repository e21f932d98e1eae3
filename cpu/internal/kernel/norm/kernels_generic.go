package norm

import "math"

// kernels is the normalisation part of a kernel set. Strides are in elements.
type kernels struct {
	// moments sets sum[i] = Σ x[r][i] and square[i] = Σ x[r][i]² over r < rows, for i < c.
	moments func(sum, square []float64, x []float32, rows, c, stride int)

	// affine sets dst[r][i] = x[r][i]·scale[i] + shift[i] for r < rows, i < c. dst may be x.
	affine func(dst, x, scale, shift []float32, rows, c, dstStride, stride int)

	// layer normalises rows of c elements: dst[r][i] = (x[r][i]-μ)/√(σ²+eps)·weight[i] + bias[i].
	// inverse is 1/c. dst may be x.
	layer func(dst, x, weight, bias []float32, rows, c int, eps, inverse float32)

	// Those of gradients, with sums and terms in float64 and the same bits in every set.

	// gradientMoments adds Σ d[r][i] to sum[i] and Σ d[r][i]·(x[r][i]-mean[i]) to inner[i] for r < rows, i < len(sum).
	gradientMoments func(sum, inner []float64, x, d []float32, mean []float64, rows, stride, dStride int)

	// gradientAffine sets dx[r][i] = d[r][i]·t.scale[i] + (x[r][i]-t.mean[i])·t.inner[i] + t.outer[i] + add[r][i] for r < rows, i < c.
	// Rows of dx, x and add are stride apart; add may be nil, or dx.
	gradientAffine func(dx, x, d, add []float32, t terms, rows, c, stride, dStride int)

	// layerGradient is a row of LayerGradient. add may be nil, or dx.
	layerGradient func(dx, x, dy, add, weight []float32, eps float64)
}

// generic is the definition of the kernels and the set for machines without another.
var generic = kernels{momentsGeneric, affineGeneric, layerGeneric, gradientMomentsGeneric, gradientAffineGeneric, layerGradientGeneric}

func momentsGeneric(sum, square []float64, x []float32, rows, c, stride int) {
	sum, square = sum[:c], square[:c]
	clear(sum)
	clear(square)
	for r := range rows {
		for i, v := range x[r*stride:][:c] {
			v := float64(v)
			sum[i] += v
			square[i] += v * v
		}
	}
}

func affineGeneric(dst, x, scale, shift []float32, rows, c, dstStride, stride int) {
	scale, shift = scale[:c], shift[:c]
	for r := range rows {
		y := dst[r*dstStride:][:c]
		for i, v := range x[r*stride:][:c] {
			y[i] = v*scale[i] + shift[i]
		}
	}
}

func layerGeneric(dst, x, weight, bias []float32, rows, c int, eps, _ float32) {
	weight, bias = weight[:c], bias[:c]
	for r := range rows {
		x, y := x[r*c:][:c], dst[r*c:][:c]
		var sum, square float64
		for _, v := range x {
			sum += float64(v)
		}
		mean := sum / float64(c)
		for _, v := range x {
			d := float64(v) - mean
			square += d * d
		}
		m, rstd := float32(mean), float32(1/math.Sqrt(square/float64(c)+float64(eps)))
		for i, v := range x {
			y[i] = (v-m)*rstd*weight[i] + bias[i]
		}
	}
}

func gradientMomentsGeneric(sum, inner []float64, x, d []float32, mean []float64, rows, stride, dStride int) {
	c := len(sum)
	inner, mean = inner[:c], mean[:c]
	for r := range rows {
		x := x[r*stride:][:c]
		for i, v := range d[r*dStride:][:c] {
			v := float64(v)
			sum[i] += v
			inner[i] += float64(v * (float64(x[i]) - mean[i]))
		}
	}
}

func gradientAffineGeneric(dx, x, d, add []float32, t terms, rows, c, stride, dStride int) {
	scale, mean, inner, outer := t.scale[:c], t.mean[:c], t.inner[:c], t.outer[:c]
	for r := range rows {
		y, x := dx[r*stride:][:c], x[r*stride:][:c]
		for i, v := range d[r*dStride:][:c] {
			g := float64(float64(v)*scale[i]) + float64((float64(x[i])-mean[i])*inner[i]) + outer[i]
			if add != nil {
				g += float64(add[r*stride+i])
			}
			y[i] = float32(g)
		}
	}
}

// lanes is how many sums a row of a layer normalisation's gradient is added up in, element i in sum i mod lanes.
const lanes = 16

func layerGradientGeneric(dx, x, dy, add, weight []float32, eps float64) {
	c := len(dx)
	x, dy, weight = x[:c], dy[:c], weight[:c]
	count := float64(c)
	var total [lanes]float64
	for i, v := range x {
		total[i%lanes] += float64(v)
	}
	mean := halve(&total) / count
	var squares, sums, inners [lanes]float64
	for i, v := range x {
		v, d := float64(v)-mean, float64(dy[i])*float64(weight[i])
		squares[i%lanes] += float64(v * v)
		sums[i%lanes] += d
		inners[i%lanes] += float64(d * v)
	}
	rstd := 1 / math.Sqrt(halve(&squares)/count+eps)
	outer, inner := halve(&sums)/count*rstd, halve(&inners)/count*rstd*rstd*rstd
	for i, v := range x {
		d := float64(dy[i]) * float64(weight[i])
		g := float64(d*rstd) - float64((float64(v)-mean)*inner) - outer
		if add != nil {
			g += float64(add[i])
		}
		dx[i] = float32(g)
	}
}

// halve adds up s by halves, and destroys it.
func halve(s *[lanes]float64) float64 {
	for n := lanes / 2; n > 0; n /= 2 {
		for i := range n {
			s[i] += s[i+n]
		}
	}
	return s[0]
}
