package dataset

import (
	"image"
	"path/filepath"
	"testing"
)

func TestParseFace(t *testing.T) {
	for _, c := range []struct {
		path string
		want face
		ok   bool
	}{
		{"dir/cat_100_120_40_50.png", face{100, 120, 40, 50}, true},
		{"a_b_c_100_120_40_50.png", face{100, 120, 40, 50}, true},
		{"dir_1_2_3_4/cat.png", face{}, false},
		{"100_120_40_50.png", face{}, false},
		{"cat_100_120_40_0.png", face{}, false},
		{"cat_100_120_-4_5.png", face{}, false},
		{"cat_100_120_x_5.png", face{}, false},
	} {
		if got, ok := parseFace(c.path); ok != c.ok || ok && got != c.want {
			t.Errorf("%s: %v, %v, want %v, %v", c.path, got, ok, c.want, c.ok)
		}
	}
}

func TestFacePlacements(t *testing.T) {
	target := Size{512, 512}
	for _, c := range []struct {
		name        string
		face        face
		picture     Size
		zoom        [2]float64
		random      bool
		low, high   float64 // bounds of the scale
		drift       int     // of the face from the middle, where the picture's borders allow
		unreachable bool
	}{
		{"a face of 200 shown two to four times", face{1500, 1000, 200, 160}, Size{3000, 2000}, [2]float64{2, 4}, false, 512.0 / 800, 1, 10, false},
		{"a fixed zoom does not jitter", face{1500, 1000, 300, 300}, Size{3000, 2000}, [2]float64{4, 4}, false, 512.0 / 1200, 512.0 / 1200, 1, false},
		{"a small face is never enlarged", face{1500, 1000, 30, 30}, Size{3000, 2000}, [2]float64{2, 4}, false, 1, 1, 1, false},
		{"a large face needs more than the picture", face{300, 300, 500, 500}, Size{600, 600}, [2]float64{2, 4}, false, 512.0 / 600, 512.0 / 600, 1000, false},
		{"random crops wander", face{1500, 1000, 200, 160}, Size{3000, 2000}, [2]float64{2, 4}, true, 512.0 / 800, 1, 3000, false},
		{"a small picture", face{50, 50, 20, 20}, Size{400, 600}, [2]float64{2, 4}, false, 0, 0, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			seen := map[Placement]bool{}
			for seed := range uint64(200) {
				p, ok := c.face.place(c.picture, target, c.zoom, c.random, fixedRand(seed))
				if ok == c.unreachable {
					t.Fatalf("ok is %v", ok)
				}
				if !ok {
					return
				}
				seen[p] = true
				scale := float64(p.Resized.W) / float64(c.picture.W)
				if scale < c.low-0.001 || scale > c.high+0.001 || p.Bucket != target {
					t.Errorf("scale %v, want %v to %v; %+v", scale, c.low, c.high, p)
				}
				if p.Crop.X < 0 || p.Crop.Y < 0 || p.Crop.X+512 > p.Resized.W || p.Crop.Y+512 > p.Resized.H {
					t.Errorf("%+v leaves the picture", p)
				}
				if off := p.Crop.X + 256 - roundHalfUp(float64(c.face.x)*scale); off < -c.drift || off > c.drift {
					t.Errorf("the face is %d pixels from the middle, want at most %d", off, c.drift)
				}
			}
			if varies := c.zoom[0] != c.zoom[1] && c.drift > 1; varies != (len(seen) > 1) && c.drift < 1000 {
				t.Errorf("%d placements", len(seen))
			}
		})
	}
}

// TestFaceCropInUse: a picture with a face in its name is cropped around it if buckets are off, and warned about if not.
func TestFaceCropInUse(t *testing.T) {
	root := t.TempDir()
	writePNG(t, mkdir(t, filepath.Join(root, "50_a"), "x_300_100_60_60.png"), 400, 400, grey)
	set := tinySet(root, "")
	set.Folder.FaceCropAugRange = [2]float64{1.5, 3}
	if r := mustOpen(t, Config{Sets: []Set{set}}).Report(); !hasWarning(r, "Subset.FaceCropAugRange has no effect") {
		t.Errorf("with buckets: %q", r.Warnings)
	}
	set.Enable = false
	d := mustOpen(t, Config{Sets: []Set{set}, MaxTrainEpochs: 1})
	sizes := map[Size]bool{}
	for b := range d.Epoch(1) {
		for _, it := range b.Items {
			sizes[it.Resized] = true
			if s, err := it.Load(t.Context()); err != nil || s.Image.Rect.Size() != image.Pt(128, 128) {
				t.Fatalf("%v, %v", s.Image, err)
			}
		}
	}
	if len(sizes) < 10 {
		t.Errorf("%d scales in 50 uses", len(sizes))
	}
}
