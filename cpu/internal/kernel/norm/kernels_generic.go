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
}

// generic is the definition of the kernels and the set for machines without another.
var generic = kernels{momentsGeneric, affineGeneric, layerGeneric}

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
