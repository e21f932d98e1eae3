package portrait

import (
	"fmt"
	"strings"
)

// Verdict is what becomes of a photo, the more severe the greater.
type Verdict int

// Verdicts.
const (
	Keep Verdict = iota // it is trained on; a finding that keeps is a remark
	Warn                // it is trained on, and a better one would help
	Drop                // it is not trained on
)

// String is "keep", "warn" or "drop".
func (v Verdict) String() string { return [...]string{"keep", "warn", "drop"}[v] }

// Kind is what a finding is about.
type Kind string

// Kinds of findings.
const (
	Unreadable   Kind = "unreadable"   // no picture, a format that is not read, or damaged
	Thumbnail    Kind = "thumbnail"    // few pixels
	Screenshot   Kind = "screenshot"   // the shape of a telephone's screen, without loss
	Turned       Kind = "turned"       // an EXIF orientation, which is followed
	NoFace       Kind = "no face"      // none was found
	SeveralFaces Kind = "faces"        // more than one
	SmallFace    Kind = "small face"   // few pixels
	CutFace      Kind = "cut"          // the picture's edge goes through the head
	Tilted       Kind = "tilted"       // the head leans
	Blurred      Kind = "blurred"      // the face, at the size at which it is trained
	Dark         Kind = "dark"         // the face
	Burnt        Kind = "burnt out"    // white where the face should be
	Grey         Kind = "greyscale"    // no colours, or one tone
	Duplicate    Kind = "duplicate"    // nearly the picture of another photo, which is sharper
	Mirrored     Kind = "mirrored"     // nearly the mirror image of another photo, or like the others only when mirrored
	Stranger     Kind = "looks unlike" // unlike most of the others
	NoCaption    Kind = "no caption"   // no text file beside it
	Overruled    Kind = "overruled"    // kept or dropped because the options say so
)

// Finding is one thing about a photo.
type Finding struct {
	Kind    Kind
	Verdict Verdict
	Text    string  // what is wrong, in plain words
	Mend    string  // what to do; empty if there is nothing to be done
	Value   float64 // what was measured, in the unit that Text says; 0 if nothing was
	Other   string  // the name of the other photo of a Duplicate or a Mirrored, if it is of one
}

// String is the text and the mend.
func (f Finding) String() string {
	if f.Mend == "" {
		return f.Text
	}
	return f.Text + ": " + f.Mend
}

// Report is what Check found.
type Report struct {
	Dir     string   // the folder of the photos
	Photos  []Photo  // by name
	Remarks []string // on all of them together
}

// Kept are the photos to train on.
func (r Report) Kept() (kept []Photo) {
	for _, p := range r.Photos {
		if p.Verdict() < Drop {
			kept = append(kept, p)
		}
	}
	return kept
}

// String is a line for each photo and each remark.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d photos kept.\n", len(r.Kept()), len(r.Photos))
	for _, p := range r.Photos {
		fmt.Fprintf(&b, "%s  %s", p.Verdict(), p.Name)
		for i, f := range p.Findings {
			fmt.Fprintf(&b, "%s%s", [...]string{"  ", "; "}[min(i, 1)], f)
		}
		b.WriteByte('\n')
	}
	for _, remark := range r.Remarks {
		fmt.Fprintln(&b, remark)
	}
	return b.String()
}
