package portrait

import (
	"cmp"
	"image"
	"math"
	"slices"
)

// What photos are held to, measured on portraits: a photo's and drawn ones, as they are and made worse.
const (
	wantedFace  = 200.0 / 512 // of the resolution that is trained
	leastFace   = 80.0 / 512
	leastSharp  = 2.0 // percent, see sharpness
	wantedSharp = 4.5
	leastBright = 50    // of 255, what a twentieth of the face exceeds
	mostBurnt   = 0.2   // of the face
	mostTilt    = 20    // degrees
	leastColour = 3     // of 255, see colourfulness
	sameShot    = 0.99  // correlation of thumbs
	sameMirror  = 0.996 // portraits are much like their own mirror images
	unlike      = 0.16  // below what most have in common
	likeMirror  = 0.08  // more like the others than it is as it was taken
)

// checkPicture holds a photo as a whole to what is wanted.
func (p *Photo) checkPicture(img *image.NRGBA, format string, resolution int) {
	shorter, longer := min(p.Size.X, p.Size.Y), max(p.Size.X, p.Size.Y)
	switch {
	case shorter < resolution/2:
		p.find(Thumbnail, Drop, float64(shorter), "take the original, not its thumbnail", "%d×%d pixels are too few to train at %d", p.Size.X, p.Size.Y, resolution)
	case shorter < resolution*9/10:
		p.find(Thumbnail, Warn, float64(shorter), "take the original if there is a larger one", "%d×%d pixels are enlarged to train at %d", p.Size.X, p.Size.Y, resolution)
	}
	if format == "png" && p.Size.Y > p.Size.X && 100*longer >= 195*shorter {
		p.find(Screenshot, Warn, 0, "take the photo itself", "it has the shape of a telephone's screen and may be a screenshot")
	}
	if c := colourfulness(img); c < leastColour {
		p.find(Grey, Warn, c, "take it in colour: without, grey pictures are learned", "it is black and white, or of one tone")
	}
}

// checkFace holds the person's face to what is wanted.
func (p *Photo) checkFace(resolution int) {
	if p.Size == (image.Point{}) {
		return
	}
	if len(p.Faces) == 0 {
		p.find(NoFace, Drop, 0, "leave it out, or take one that shows the face", "no face is found")
		if p.whole.mean() < 25 {
			p.find(Dark, Drop, p.whole.mean(), "brighten it, or take one in better light", "it is nearly black")
		} else if burnt := p.whole.above(250); burnt > 0.3 {
			p.find(Burnt, Drop, 100*burnt, "take one without the glare", "%.0f %% of it is white without any detail", 100*burnt)
		}
		return
	}
	if n := len(p.Faces); n > 1 {
		p.find(SeveralFaces, Drop, float64(n), "crop it to the person", "it shows %d faces", n)
	}
	p.checkPlace(resolution)
	p.checkLight()
}

// checkPlace is about where the face is, how large, and how it leans.
func (p *Photo) checkPlace(resolution int) {
	// The face is as large in training as in a square around head and shoulders, which is made as large as the resolution.
	size := p.Face.Size
	switch least, wanted := leastFace*float64(resolution), wantedFace*float64(resolution); {
	case size < least:
		p.find(SmallFace, Drop, size, "take one from nearer, or the original", "the face has %.0f pixels, %.0f are the least: it is enlarged %.1f times to be learned at %d", size, least, wanted/size, resolution)
	case size < wanted:
		p.find(SmallFace, Warn, size, "larger ones help", "the face has %.0f pixels, %.0f are wanted: at %d it is learned without its fine detail", size, wanted, resolution)
	}
	whole := image.Rectangle{Max: p.Size}
	out := func(r image.Rectangle) float64 {
		in := r.Intersect(whole).Size()
		return 1 - float64(in.X*in.Y)/float64(r.Dx()*r.Dy())
	}
	switch face, head := out(p.Face.Box()), out(head(p.Face)); {
	case face > 0.05:
		p.find(CutFace, Drop, face, "take one that shows the whole head", "the picture's edge cuts the face")
	case head > 0.02:
		p.find(CutFace, Warn, head, "some room above the hair helps", "the picture's edge cuts the head")
	}
	if tilt := math.Abs(p.Face.Roll); tilt > mostTilt {
		v := Warn
		if tilt > 60 {
			v = Drop
		}
		p.find(Tilted, v, p.Face.Roll, "turn it upright", "the head leans by %.0f°", tilt)
	}
}

// checkLight is about the pixels of the face.
func (p *Photo) checkLight() {
	l := p.look()
	switch {
	case l.bright < leastBright:
		p.find(Dark, Drop, l.bright, "take one in better light, or brighten it", "the face is in the dark")
	case l.burnt > mostBurnt:
		p.find(Burnt, Drop, 100*l.burnt, "take one without the glare", "%.0f %% of the face is white without any detail", 100*l.burnt)
	}
	switch {
	case l.sharpness < leastSharp:
		p.find(Blurred, Drop, l.sharpness, "take a sharp one", "the face is blurred")
	case l.sharpness < wantedSharp:
		p.find(Blurred, Warn, l.sharpness, "sharper ones help", "the face is soft")
	}
}

// checkCaption looks for the text beside a photo.
func (p *Photo) checkCaption(a album) {
	if a.caption(p.Name) != "" {
		return
	}
	p.find(NoCaption, Keep, 0, "", "it has no caption beside it and gets the one of all")
}

// checkDuplicates looks for photos that are nearly the same, and drops all but the sharpest.
func (r *Report) checkDuplicates() {
	order := make([]*Photo, 0, len(r.Photos)) // the best first
	for i := range r.Photos {
		if len(r.Photos[i].Faces) > 0 {
			order = append(order, &r.Photos[i])
		}
	}
	detail := func(p *Photo) float64 { return p.look().sharpness * p.Face.Size }
	slices.SortStableFunc(order, func(a, b *Photo) int { return cmp.Compare(detail(b), detail(a)) })
	var kept []*Photo
	for _, p := range order {
		mirror := mirrored(p.thumb)
		known := slices.IndexFunc(kept, func(q *Photo) bool {
			return correlation(p.thumb, q.thumb) > sameShot || correlation(mirror, q.thumb) > sameMirror
		})
		if known < 0 {
			kept = append(kept, p)
			continue
		}
		p.duplicates(kept[known], correlation(p.thumb, kept[known].thumb), correlation(mirror, kept[known].thumb))
	}
}

// duplicates says that a photo is another one again, or its mirror image.
func (p *Photo) duplicates(q *Photo, straight, mirror float64) {
	if mirror > straight {
		p.find(Mirrored, Drop, mirror, "leave it out: faces are not alike on both sides", "it is %s mirrored", q.Name)
	} else {
		p.find(Duplicate, Drop, straight, "", "it is the same shot as %s, which is sharper or larger", q.Name)
	}
	p.Findings[len(p.Findings)-1].Other = q.Name
}

// checkStrangers looks for faces that look unlike most of the others.
func (r *Report) checkStrangers() {
	var with []*Photo
	var all []Embedding
	for i := range r.Photos {
		if p := &r.Photos[i]; len(p.Faces) > 0 {
			with, all = append(with, p), append(all, p.look().appearance)
		}
	}
	for i, similarity := range strangers(all) {
		with[i].find(Stranger, Warn, similarity, "drop it if it is somebody else", "it looks unlike most of the others: another person, other hair or other light")
	}
}

// checkMirrored looks for faces that are like most of the others only when left and right are swapped, as front cameras do.
func (r *Report) checkMirrored() {
	var with []*Photo
	var all []Embedding
	for i := range r.Photos {
		if p := &r.Photos[i]; len(p.Faces) > 0 && !p.Has(Stranger) && !p.Has(Mirrored) {
			with, all = append(with, p), append(all, p.look().appearance)
		}
	}
	if len(all) < 5 {
		return
	}
	for i, e := range all {
		others := slices.Delete(slices.Clone(all), i, i+1)
		if more := nearness(e.mirrored(), others) - nearness(e, others); more > likeMirror {
			with[i].find(Mirrored, Warn, more, "mirror it back if it is a selfie: faces are not alike on both sides", "it is more like the others with left and right swapped")
		}
	}
}

// conclude puts the worst finding first, and lets the options overrule.
func (p *Photo) conclude(o CheckOptions) {
	slices.SortStableFunc(p.Findings, func(a, b Finding) int { return cmp.Compare(b.Verdict, a.Verdict) })
	overrule := func(v Verdict, text string) {
		p.Findings = slices.Insert(p.Findings, 0, Finding{Kind: Overruled, Verdict: v, Text: text})
	}
	switch {
	case slices.Contains(o.Drop, p.Name):
		overrule(Drop, "dropped as asked")
	case slices.Contains(o.Keep, p.Name) && p.Size != (image.Point{}) && p.Verdict() > Keep:
		overrule(Keep, "kept as asked")
	}
}
