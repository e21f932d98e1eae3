package canvas

import (
	"image"
	"math"
	"sync"
)

// lab is a colour of CIE 1976 L*a*b* in bytes: lightness in 255ths, both others moved by 128.
type lab [3]uint8

// Recolour gives a picture the colours of target, whatever that one's size, and leaves it its lights: each channel of L*a*b* is changed so
// that its values are as often there as in target, and then the lightness of the picture put back.
func Recolour(img, target *image.NRGBA) *image.NRGBA {
	colours, wanted := toLab(img), toLab(target)
	var tables [3][256]uint8
	for c := range tables {
		tables[c] = matched(histogram(colours, c), histogram(wanted, c))
	}
	out := image.NewNRGBA(image.Rectangle{Max: img.Rect.Size()})
	for i, colour := range colours {
		rgb := lab{tables[0][colour[0]], tables[1][colour[1]], tables[2][colour[2]]}.rgb()
		lit := withLuminosity(rgb, img.Pix[4*i:])
		copy(out.Pix[4*i:], lit[:])
		out.Pix[4*i+3] = 255
	}
	return out
}

func toLab(img *image.NRGBA) []lab {
	all := make([]lab, len(img.Pix)/4)
	for i := range all {
		all[i] = labOf(img.Pix[4*i:])
	}
	return all
}

// histogram counts the values of a channel.
func histogram(colours []lab, channel int) (counts [256]int) {
	for _, c := range colours {
		counts[c[channel]]++
	}
	return counts
}

// matched is the table that gives values as often as from has them the frequencies of to, whose shares it interpolates.
func matched(from, to [256]int) (table [256]uint8) {
	var shares, values []float64
	count := 0
	for v, n := range to {
		if count += n; n > 0 {
			shares, values = append(shares, float64(count)), append(values, float64(v))
		}
	}
	for i := range shares {
		shares[i] /= float64(count)
	}
	total, seen := 0, 0
	for _, n := range from {
		total += n
	}
	for v, n := range from {
		seen += n
		table[v] = uint8(interpolate(float64(seen)/float64(total), shares, values))
	}
	return table
}

// interpolate is y at x, of points in ascending order; beyond their ends it is that of the end.
func interpolate(at float64, x, y []float64) float64 {
	if at <= x[0] {
		return y[0]
	}
	for i := 1; i < len(x); i++ {
		if at < x[i] {
			return (y[i]-y[i-1])/(x[i]-x[i-1])*(at-x[i-1]) + y[i-1]
		}
	}
	return y[len(y)-1]
}

// withLuminosity is a colour with the lightness of another, of W3C's "Compositing and Blending" with the weights of ITU-R 601.
func withLuminosity(colour [3]uint8, of []uint8) (out [3]uint8) {
	luminosity := func(r, g, b float64) float64 { return r*0.299 + g*0.587 + b*0.114 }
	r, g, b := float64(colour[0])/255, float64(colour[1])/255, float64(colour[2])/255
	more := luminosity(float64(of[0])/255, float64(of[1])/255, float64(of[2])/255) - luminosity(r, g, b)
	lit := [3]float64{r + more, g + more, b + more}
	light, low, high := luminosity(lit[0], lit[1], lit[2]), min(lit[0], lit[1], lit[2]), max(lit[0], lit[1], lit[2])
	for c, v := range lit {
		if low < 0 {
			v = light + (v-light)*light/(light-low)
		}
		if high > 1 {
			v = light + (v-light)*(1-light)/(high-light)
		}
		out[c] = uint8(min(max(v*255, 0), 255))
	}
	return out
}

// The numbers below are those of sRGB under D65, in the fixed point that OpenCV computes bytes in.
const (
	coefficientBits = 12 // fractional bits of the matrix
	gammaBits       = 3  // of linear light
	cubeRootBits    = 15 // of f(t), the cube root with its linear foot
	labBits         = 14 // of f(t) and linear light on the way back
	unit            = 1 << labBits
	lowestF         = -8145 // of f(t) on the way back
)

var (
	white = [3]float64{0.950456, 1, 1.088754}
	toXYZ = [3][3]float64{{0.412453, 0.357580, 0.180423}, {0.212671, 0.715160, 0.072169}, {0.019334, 0.119193, 0.950227}}
	toRGB = [3][3]float64{{3.240479, -1.53715, -0.498535}, {-0.969256, 1.875991, 0.041556}, {0.055648, -0.204043, 1.057311}}
)

// labTables are what the conversions look up.
type labTables struct {
	linear        [256]int                    // light of a byte
	cubeRoot      [256 * 3 / 2 << 3]int       // f of light
	lightness     [256][2]int                 // light and f of a lightness
	light         [unit * 9 / 4]int           // light of f, from lowestF
	byteOf        [1 << coefficientBits]uint8 // byte of light
	forward, back [3][3]int
}

var tables = sync.OnceValue(func() *labTables {
	t := new(labTables)
	for i := range t.linear {
		t.linear[i] = int(math.RoundToEven(255 * (1 << gammaBits) * linearLight(float64(i)/255)))
	}
	for i := range t.cubeRoot {
		x := float64(i) / (255 << gammaBits)
		f := math.Cbrt(x)
		if x < 216.0/24389 {
			f = x*841/108 + 16.0/116
		}
		t.cubeRoot[i] = int(math.RoundToEven((1 << cubeRootBits) * f))
	}
	for i := range t.lightness {
		l := float64(i) * 100 / 255
		y, f := l/903.2963, 7.787037*l/903.2963+16.0/116
		if i > 20 {
			f = (l + 16) / 116
			y = f * f * f
		}
		t.lightness[i] = [2]int{int(math.RoundToEven(y * unit)), int(math.RoundToEven(f * unit))}
	}
	for i := range t.light {
		f := i + lowestF
		if t.light[i] = f * f / unit * f / unit; f <= 3390 {
			t.light[i] = f*108/841 - unit*16/116*108/841
		}
	}
	for i := range t.byteOf {
		t.byteOf[i] = uint8(math.RoundToEven(255 * companded(float64(i)/(1<<coefficientBits))))
	}
	for i := range 3 {
		for j := range 3 {
			t.forward[i][j] = int(math.RoundToEven((1 << coefficientBits) * toXYZ[i][j] / white[i]))
			t.back[i][j] = int(math.RoundToEven((1 << coefficientBits) * toRGB[i][j] * white[j]))
		}
	}
	return t
})

// linearLight and companded are sRGB's curve and its inverse.
func linearLight(v float64) float64 {
	if v <= 0.04045 {
		return v / 12.92
	}
	return math.Pow((v+0.055)/1.055, 2.4)
}

func companded(v float64) float64 {
	if v <= 0.0031308 {
		return v * 12.92
	}
	return 1.055*math.Pow(v, 1/2.4) - 0.055
}

// rounded is v without its last bits.
func rounded(v, bits int) int { return (v + 1<<(bits-1)) >> bits }

func clampInt(v int) uint8 { return uint8(min(max(v, 0), 255)) }

// labOf converts bytes of red, green and blue.
func labOf(p []uint8) lab {
	t := tables()
	var f [3]int
	for i, row := range t.forward {
		f[i] = t.cubeRoot[rounded(t.linear[p[0]]*row[0]+t.linear[p[1]]*row[1]+t.linear[p[2]]*row[2], coefficientBits)]
	}
	const scale, shift = (116*255 + 50) / 100, -((16*255*(1<<cubeRootBits) + 50) / 100)
	return lab{
		clampInt(rounded(scale*f[1]+shift, cubeRootBits)),
		clampInt(rounded(500*(f[0]-f[1])+128<<cubeRootBits, cubeRootBits)),
		clampInt(rounded(200*(f[1]-f[2])+128<<cubeRootBits, cubeRootBits)),
	}
}

// rgb converts it back.
func (c lab) rgb() (out [3]uint8) {
	t := tables()
	y, f := t.lightness[c[0]][0], t.lightness[c[0]][1]
	a := (5*int(c[1])*53687+1<<7)>>13 - 128*unit/500
	b := (int(c[2])*41943+1<<4)>>9 - 128*unit/200 + 1
	x, z := t.light[f+a-lowestF], t.light[f-b-lowestF]
	for i, row := range t.back {
		light := rounded(row[0]*x+row[1]*y+row[2]*z, labBits)
		out[i] = t.byteOf[min(max(light, 0), len(t.byteOf)-1)]
	}
	return out
}
