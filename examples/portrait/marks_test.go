package main

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/lora/dataset"
	"github.com/atelier-go/atelier/tinyportrait/drawn"
)

// person is somebody whom tests learn, and people beside them: folders of photos laid out as those of package tinyportrait.
type person struct {
	name, class    string
	photos, others string // folders
	own, strange   []seen // what they show
	marks          []mark
	samples        bool // it is the person of the sample photos
}

// mark is what most photos of a person have and fewer than half of those of others: a colour at a place of the head or below it, or
// glasses.
type mark struct {
	place   int // of places, or glassesPlace
	colour  rgb
	glasses bool
}

// String names the place and the colour.
func (m mark) String() string {
	if m.glasses {
		return "glasses"
	}
	return fmt.Sprintf("%s %.0f", places[m.place].name, m.colour)
}

// places are rectangles in half axes from the centre of a head. Those with another on the other side count as one.
var places = []struct {
	name           string
	x0, y0, x1, y1 float64
	twice          bool
}{
	{"above", -0.15, -1.4, 0.15, -1.1, false},
	{"crown", -0.4, -0.95, 0.4, -0.72, false},
	{"forehead", -0.45, -0.6, 0.45, -0.44, false},
	{"beside", 1.13, 0.3, 1.25, 0.7, true},
	{"right eye", 0.25, -0.28, 0.6, 0.1, false},
	{"left cheek", -0.68, 0.15, -0.42, 0.4, false},
	{"chin", -0.35, 0.62, 0.35, 0.92, false},
	{"clothes", -1, 1.65, 1, 1.95, false},
}

// How near colours are that count as the same, in photos and in what is drawn after them.
const sameInPhotos, sameDrawn = 50, 70

// colours are those at all places.
func (f face) colours() (all []rgb) {
	for _, p := range places {
		region := f.region(p.x0, p.y0, p.x1, p.y1)
		if p.twice {
			region = append(region, f.region(-p.x1, p.y0, -p.x0, p.y1)...)
		}
		all = append(all, mean(region))
	}
	return all
}

// seen is what a picture of one person shows.
type seen struct {
	colours []rgb
	glasses bool
}

// look is what a picture shows, false if it does not show one person alone.
func look(t *testing.T, img *image.NRGBA) (s seen, ok bool) {
	t.Helper()
	heads, err := drawn.Heads(t.Context(), img)
	if err != nil {
		t.Fatal(err)
	}
	if len(heads) != 1 {
		return s, false
	}
	f := face{newCanvas(img), heads[0].X, heads[0].Y, heads[0].W, heads[0].H}
	return seen{f.colours(), f.glasses(f.skin())}, true
}

// has reports whether a mark is seen, with colours so near.
func (s seen) has(m mark, near float64) bool {
	if m.glasses {
		return s.glasses
	}
	return s.colours[m.place].distance(m.colour) <= near
}

// read reads the photos of a folder, as a training does.
func read(t *testing.T, dir string) (all []*image.NRGBA) {
	t.Helper()
	photos, err := dataset.Open(t.Context(), dataset.Config{Sets: []dataset.Set{{
		Subsets:    []dataset.Subset{{ImageDir: dir, ClassTokens: "somebody", EXIFOrientation: true}},
		Resolution: dataset.Size{W: 512, H: 512}, Bucketing: dataset.Bucketing{Enable: true},
	}}, MaxTrainEpochs: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range photos.Pictures() {
		sample, err := p.Load(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, sample.Image)
	}
	return all
}

// lookAll looks at all photos of a folder.
func lookAll(t *testing.T, dir string) (all []seen) {
	t.Helper()
	for i, img := range read(t, dir) {
		s, ok := look(t, img)
		if !ok {
			t.Errorf("photo %d of %s does not show one person alone", i+1, dir)
			continue
		}
		all = append(all, s)
	}
	return all
}

// findMarks looks for what makes the person.
func (p *person) findMarks(t *testing.T) {
	t.Helper()
	p.own, p.strange = lookAll(t, p.photos), lookAll(t, p.others)
	candidates := []mark{{glasses: true}}
	for i := range places {
		m := mark{place: i}
		for c := range 3 {
			var values []float64
			for _, s := range p.own {
				values = append(values, s.colours[i][c])
			}
			slices.Sort(values)
			m.colour[c] = values[len(values)/2]
		}
		candidates = append(candidates, m)
	}
	share := func(all []seen, m mark) float64 {
		n := 0
		for _, s := range all {
			if s.has(m, sameInPhotos) {
				n++
			}
		}
		return float64(n) / float64(len(all))
	}
	for _, m := range candidates {
		if share(p.own, m) >= 0.85 && share(p.strange, m) < 0.5 {
			p.marks = append(p.marks, m)
		}
	}
}

// all reports whether all marks of the person are seen.
func (p *person) all(s seen) bool {
	return !slices.ContainsFunc(p.marks, func(m mark) bool { return !s.has(m, sameDrawn) })
}

// is reports whether a picture shows the person alone, with all marks; those of the samples' person are the hallmarks.
func (p *person) is(t *testing.T, img *image.NRGBA) bool {
	t.Helper()
	if p.samples {
		return findHallmarks(t, img) == thePerson
	}
	s, ok := look(t, img)
	return ok && p.all(s)
}

// people are those whom the tests learn: the person of the sample photos, the same photos in other colours, and who is in the folder that
// ATELIER_PHOTOS names.
func people(t *testing.T) (all []*person) {
	t.Helper()
	samples := filepath.Join("..", "..", "tinyportrait", "photos")
	all = append(all, personIn(t, samples), recoloured(t, samples))
	if more := os.Getenv("ATELIER_PHOTOS"); more != "" {
		all = append(all, personIn(t, more))
	}
	all[0].samples = true
	for _, p := range all {
		p.findMarks(t)
	}
	return all
}

// personIn is who is in a folder laid out as the samples: N_NAME CLASS has the photos, 1_CLASS others.
func personIn(t *testing.T, dir string) *person {
	t.Helper()
	own, err := filepath.Glob(filepath.Join(dir, "*_* *"))
	if err != nil || len(own) != 1 {
		t.Fatalf("%s: %q are the folders N_NAME CLASS, want one, %v", dir, own, err)
	}
	_, who, _ := strings.Cut(filepath.Base(own[0]), "_")
	name, class, _ := strings.Cut(who, " ")
	return &person{name: name, class: class, photos: own[0], others: filepath.Join(dir, "1_"+class)}
}

// recoloured is somebody who looks like the person in a folder, but for a grey beard and a green sweater.
func recoloured(t *testing.T, dir string) *person {
	t.Helper()
	p := personIn(t, dir)
	photos := filepath.Join(t.TempDir(), "12_othername "+p.class)
	if err := os.Mkdir(photos, 0o777); err != nil {
		t.Fatal(err)
	}
	for i, img := range read(t, p.photos) {
		for at := 0; at < len(img.Pix); at += 4 {
			c := rgb{float64(img.Pix[at]), float64(img.Pix[at+1]), float64(img.Pix[at+2])}
			into := c
			switch {
			case redHair(c):
				into = rgb{1.05, 1.05, 1.05}.times(c.luma() / 0.55)
			case yellow(c):
				into = rgb{0.3, 0.62, 0.4}.times(c.luma())
			}
			for k := range 3 {
				img.Pix[at+k] = uint8(min(255, into[k]))
			}
		}
		if err := savePicture(filepath.Join(photos, fmt.Sprintf("%03d.png", i+1)), img); err != nil {
			t.Fatal(err)
		}
	}
	return &person{name: "othername", class: p.class, photos: photos, others: p.others}
}

// savePicture writes a PNG.
func savePicture(path string, img image.Image) error {
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o666)
}

// TestMarks finds marks of each person, which their photos show and those of others do not.
func TestMarks(t *testing.T) {
	for _, p := range people(t) {
		t.Logf("%s %s: %v", p.name, p.class, p.marks)
		count := func(of []seen) (n int) {
			for _, s := range of {
				if p.all(s) {
					n++
				}
			}
			return n
		}
		if own, strange := count(p.own), count(p.strange); len(p.marks) < 3 || 100*own < 85*len(p.own) || strange > 1 {
			t.Errorf("%s: %d marks, which %d of %d own photos and %d of others show", p.name, len(p.marks), own, len(p.own), strange)
		}
	}
}
