package main

import (
	"image"
	"math"
	"testing"

	"github.com/atelier-go/atelier/tinyportrait/drawn"
)

// hallmarks are what makes the person of the sample photos.
type hallmarks struct{ Bald, RedBeard, Glasses, YellowSweater bool }

// thePerson has all of them.
var thePerson = hallmarks{true, true, true, true}

// findHallmarks looks for them in a drawn portrait, a figure before a plain background.
func findHallmarks(t *testing.T, img *image.NRGBA) hallmarks {
	t.Helper()
	heads, err := drawn.Heads(t.Context(), img)
	if err != nil {
		t.Fatal(err)
	}
	if len(heads) != 1 {
		return hallmarks{}
	}
	f := face{newCanvas(img), heads[0].X, heads[0].Y, heads[0].W, heads[0].H}
	skin := f.skin()
	return hallmarks{
		Bald:          f.bald(skin),
		RedBeard:      share(f.region(-0.35, 0.62, 0.35, 0.92), redHair) > 0.7,
		Glasses:       f.glasses(skin),
		YellowSweater: share(f.region(-1.3, 1.6, 1.3, 1.95), yellow) > 0.8,
	}
}

// rgb is a colour, 0 to 255.
type rgb [3]float64

// luma is how bright it looks.
func (c rgb) luma() float64 { return 0.299*c[0] + 0.587*c[1] + 0.114*c[2] }

// distance is the largest difference of a channel.
func (c rgb) distance(d rgb) float64 {
	return max(math.Abs(c[0]-d[0]), math.Abs(c[1]-d[1]), math.Abs(c[2]-d[2]))
}

// times is it brighter.
func (c rgb) times(gain float64) rgb { return rgb{gain * c[0], gain * c[1], gain * c[2]} }

// redHair is a foxy red, neither brown hair, which is darker, nor skin, which is paler, nor a red sweater.
func redHair(c rgb) bool {
	return c[0] > 110 && c[1] < 0.56*c[0] && c[1] > 0.28*c[0] && c[2] < 0.4*c[0]
}

// yellow is that of the sweater, at its brightest or in the shade, and of no other clothes.
func yellow(c rgb) bool { return c[0] > 150 && c[1] > 0.68*c[0] && c[1] < 0.95*c[0] && c[2] < 0.5*c[0] }

// share is the part of the colours that are like that.
func share(colours []rgb, like func(rgb) bool) float64 {
	n := 0
	for _, c := range colours {
		if like(c) {
			n++
		}
	}
	return float64(n) / float64(len(colours))
}

// face is where the head of a portrait is: the ellipse that would be a bald one, with centre and half axes in pixels.
type face struct {
	*canvas
	x, y, w, h float64
}

// canvas is an image in the form in which its pixels are looked at often.
type canvas struct {
	image.Rectangle // from 0, 0
	pixels          []rgb
}

func newCanvas(img image.Image) *canvas {
	b := img.Bounds()
	p := &canvas{Rectangle: b.Sub(b.Min)}
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			r, g, b, _ := img.At(x, y).RGBA()
			p.pixels = append(p.pixels, rgb{float64(r >> 8), float64(g >> 8), float64(b >> 8)})
		}
	}
	return p
}

// at is the colour at a place in half axes from the centre of the face, x to the right and y down.
func (f face) at(x, y float64) rgb {
	px, py := int(f.x+x*f.w), int(f.y+y*f.h)
	return f.pixels[min(max(py, 0), f.Dy()-1)*f.Dx()+min(max(px, 0), f.Dx()-1)]
}

// region is the colours of a rectangle, on a grid.
func (f face) region(x0, y0, x1, y1 float64) (colours []rgb) {
	const n = 24
	for i := range n {
		for j := range n {
			colours = append(colours, f.at(x0+(x1-x0)*(float64(j)+0.5)/n, y0+(y1-y0)*(float64(i)+0.5)/n))
		}
	}
	return colours
}

// skin is the colour of the forehead, under the hair if there is any.
func (f face) skin() rgb { return mean(f.region(-0.3, -0.48, 0.3, -0.36)) }

func mean(colours []rgb) (m rgb) {
	for _, c := range colours {
		for i := range m {
			m[i] += c[i] / float64(len(colours))
		}
	}
	return m
}

// bald says that there is nothing but skin and background from the forehead up: no hair.
func (f face) bald(skin rgb) bool {
	background := mean(append(f.region(-1.7, -1.1, -1.4, -0.4), f.region(1.4, -1.1, 1.7, -0.4)...))
	cheeks := mean(append(f.region(-0.5, 0.15, -0.25, 0.27), f.region(0.25, 0.15, 0.5, 0.27)...))
	bare := func(c rgb) bool { return c.distance(skin) < 40 || c.distance(background) < 30 }
	return share(f.region(-1, -1.2, 1, -0.6), bare) > 0.85 && skin.distance(cheeks) < 70
}

// glasses looks for rims around both eyes: dark under them and beside them, where a face without glasses has nothing dark.
func (f face) glasses(skin rgb) bool {
	dark := func(c rgb) bool { return c.luma() < min(110, 0.6*skin.luma()) }
	most := func(line func(i float64) []rgb) bool { // most of eleven lines cross something dark
		n := 0
		for i := -5.0; i <= 5; i++ {
			if share(line(i), dark) > 0 {
				n++
			}
		}
		return n >= 7
	}
	for y := -0.2; y <= 0; y += 0.04 { // of the eyes
		rims, sides := 0, 0
		for _, x := range []float64{-0.42, 0.42} {
			if most(func(i float64) []rgb { return f.line(x+0.04*i, y+0.1, x+0.04*i, y+0.28) }) {
				rims++
			}
			for _, x := range []float64{x - 0.26, x + 0.26} {
				if most(func(i float64) []rgb { return f.line(x-0.1, y+0.025*i, x+0.1, y+0.025*i) }) {
					sides++
				}
			}
		}
		if rims == 2 && sides >= 3 {
			return true
		}
	}
	return false
}

// line is the colours on the way from one place to another.
func (f face) line(x0, y0, x1, y1 float64) (colours []rgb) {
	const n = 10
	for i := range n {
		t := (float64(i) + 0.5) / n
		colours = append(colours, f.at(x0+(x1-x0)*t, y0+(y1-y0)*t))
	}
	return colours
}
