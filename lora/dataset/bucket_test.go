package dataset

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

var up = Bucketing{Enable: true}
var noUp = Bucketing{Enable: true, NoUpscale: true}

// mirrored adds the landscape of every portrait and sorts.
func mirrored(t testing.TB, portraits string) map[Size]bool {
	t.Helper()
	all := map[Size]bool{}
	for text := range strings.FieldsSeq(portraits) {
		var s Size
		if _, err := fmt.Sscanf(text, "%dx%d", &s.W, &s.H); err != nil {
			t.Fatal(err)
		}
		all[s], all[Size{s.H, s.W}] = true, true
	}
	return all
}

func TestBucketLists(t *testing.T) {
	const standard = "256x832 256x896 256x960 256x1024 320x704 320x768 384x640 448x576 512x512"
	for _, c := range []struct {
		name       string
		resolution Size
		bucketing  Bucketing
		portraits  string
		count      int
	}{
		{"20: defaults", Size{512, 512}, up, standard, 17},
		{"21: max 2048", Size{512, 512}, Bucketing{Enable: true, MaxReso: 2048}, standard, 17},
		{"22: 320 to 768", Size{512, 512}, Bucketing{Enable: true, MinReso: 320, MaxReso: 768}, "320x704 320x768 384x640 448x576 512x512", 9},
		{"23: 512x768", Size{512, 768}, up, "256x1024 320x1024 384x896 384x960 384x1024 448x832 512x704 512x768 576x576 576x640", 19},
		{"24: 768x768", Size{768, 768}, up, "256x1024 320x1024 384x1024 448x1024 512x1024 576x960 576x1024 640x896 704x832 768x768", 19},
		{"25: min 128", Size{512, 512}, Bucketing{Enable: true, MinReso: 128}, standard + " 128x1024 192x1024", 21},
		{"26: min 300, max 1000 adjusted", Size{512, 512}, Bucketing{Enable: true, MinReso: 300, MaxReso: 1000}, standard, 17},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, err := NewBuckets(c.resolution, c.bucketing)
			if err != nil {
				t.Fatal(err)
			}
			want := mirrored(t, c.portraits)
			got := k.Sizes()
			if len(got) != c.count || len(want) != c.count {
				t.Errorf("%d buckets %v, want %d: %v", len(got), got, c.count, want)
			}
			for i, s := range got {
				if !want[s] {
					t.Errorf("bucket %v is too much", s)
				}
				if i > 0 && compareSizes(got[i-1], s) >= 0 {
					t.Errorf("%v after %v", s, got[i-1])
				}
			}
			if c.bucketing.MinReso == 300 && len(k.Warnings()) != 2 {
				t.Errorf("warnings %q, want one for each bound", k.Warnings())
			}
		})
	}
}

func TestBucketsRefuse(t *testing.T) {
	for _, c := range []struct {
		name       string
		resolution Size
		bucketing  Bucketing
		want       string
	}{
		{"25: step 32", Size{512, 512}, Bucketing{Enable: true, ResoSteps: 32}, "ResoSteps"},
		{"26: min 576", Size{512, 512}, Bucketing{Enable: true, MinReso: 576}, "MinReso is 576"},
		{"26: max 448", Size{512, 512}, Bucketing{Enable: true, MaxReso: 448}, "MaxReso is 448"},
		{"step -64", Size{512, 512}, Bucketing{Enable: true, ResoSteps: -64}, "ResoSteps"},
		{"resolution 0", Size{}, up, "Resolution is 0x0"},
		{"resolution 100000", Size{100000, 512}, Bucketing{}, "Resolution is 100000x512"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := NewBuckets(c.resolution, c.bucketing); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

// TestBucketBorders is case 27: the ratio w/h at which the choice moves on to the next bucket.
func TestBucketBorders(t *testing.T) {
	k, err := NewBuckets(Size{512, 512}, up)
	if err != nil {
		t.Fatal(err)
	}
	borders := []float64{0.258333, 0.276190, 0.296703, 0.362179, 0.435606, 0.527273, 0.688889, 0.888889,
		1.142857, 1.476190, 1.933333, 2.3, 2.825, 3.375, 3.625, 3.875}
	sizes := k.Sizes() // ascending by width is not ascending by ratio
	byRatio := map[int]Size{}
	for _, s := range sizes {
		rank := 0
		for _, other := range sizes {
			if other.ratio() < s.ratio() {
				rank++
			}
		}
		byRatio[rank] = s
	}
	const high = 1000003
	for i, border := range borders {
		for side, delta := range []float64{-2e-6, 2e-6} {
			image := Size{int(math.Round((border + delta) * high)), high}
			if got, want := k.nearest(image), byRatio[i+side]; got != want {
				t.Errorf("ratio %.6f%+.0e: bucket %v, want %v", border, delta, got, want)
			}
		}
	}
}

func TestPlacements(t *testing.T) {
	type result struct{ bucket, resized Size }
	square := Size{512, 512}
	for _, c := range []struct {
		name       string
		image      Size
		resolution Size
		up, noUp   result // zero sizes are not compared
	}{
		{"28", Size{3024, 4032}, square, result{Size{448, 576}, Size{448, 597}}, result{Size{384, 512}, Size{384, 512}}},
		{"29", Size{4032, 3024}, square, result{Size{576, 448}, Size{597, 448}}, result{Size{512, 384}, Size{512, 384}}},
		{"30", Size{512, 768}, square, result{Size{384, 640}, Size{427, 640}}, result{Size{384, 576}, Size{384, 576}}},
		{"31", Size{768, 512}, square, result{Size{640, 384}, Size{640, 427}}, result{Size{576, 384}, Size{576, 384}}},
		{"32", Size{512, 640}, square, result{Size{448, 576}, Size{461, 576}}, result{Size{384, 512}, Size{410, 512}}},
		{"33", Size{1920, 1080}, square, result{Size{640, 384}, Size{683, 384}}, result{Size{640, 384}, Size{683, 384}}},
		{"34", Size{1080, 1920}, square, result{Size{384, 640}, Size{384, 683}}, result{Size{384, 640}, Size{384, 683}}},
		{"35", Size{300, 200}, square, result{Size{640, 384}, Size{640, 427}}, result{Size{256, 192}, Size{300, 200}}},
		{"36", Size{100, 100}, square, result{bucket: Size{512, 512}}, result{Size{64, 64}, Size{100, 100}}},
		{"37", Size{50, 80}, square, result{Size{384, 640}, Size{400, 640}}, result{}},
		{"38", Size{4000, 1000}, square, result{bucket: Size{1024, 256}}, result{bucket: Size{1024, 256}}},
		{"39", Size{2000, 400}, square, result{Size{1024, 256}, Size{1280, 256}}, result{bucket: Size{960, 192}}},
		{"40", Size{832, 1216}, square, result{Size{384, 640}, Size{438, 640}}, result{Size{384, 576}, Size{394, 576}}},
		{"41", Size{3072, 3000}, square, result{Size{512, 512}, Size{524, 512}}, result{Size{448, 448}, Size{459, 448}}},
		{"42", Size{683, 1024}, square, result{Size{384, 640}, Size{427, 640}}, result{Size{384, 576}, Size{384, 576}}},
		{"43", Size{500, 700}, square, result{Size{448, 576}, Size{448, 627}}, result{Size{384, 512}, Size{384, 538}}},
		{"44", Size{896, 1152}, square, result{Size{448, 576}, Size{448, 576}}, result{bucket: Size{448, 576}}},
		{"45 portrait", Size{272, 400}, square, result{bucket: Size{384, 640}}, result{}},
		{"45 landscape", Size{400, 272}, square, result{bucket: Size{576, 448}}, result{}},
		{"46 at 768x768", Size{3024, 4032}, Size{768, 768}, result{Size{640, 896}, Size{672, 896}}, result{Size{640, 832}, Size{640, 853}}},
		{"46 at 512x768", Size{3024, 4032}, Size{512, 768}, result{Size{512, 704}, Size{528, 704}}, result{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, mode := range []struct {
				name      string
				bucketing Bucketing
				want      result
			}{{"up", up, c.up}, {"no-up", noUp, c.noUp}} {
				if mode.want == (result{}) {
					continue
				}
				k, err := NewBuckets(c.resolution, mode.bucketing)
				if err != nil {
					t.Fatal(err)
				}
				got, err := k.Place(c.image)
				if err != nil {
					t.Fatal(err)
				}
				if got.Bucket != mode.want.bucket || mode.want.resized != (Size{}) && got.Resized != mode.want.resized {
					t.Errorf("%s: bucket %v resized %v, want %v and %v", mode.name, got.Bucket, got.Resized, mode.want.bucket, mode.want.resized)
				}
			}
		})
	}
}

func TestCrops(t *testing.T) {
	for _, c := range []struct {
		name      string
		image     Size
		bucketing Bucketing
		want      Point
	}{
		{"28: 10 rows above, 11 below", Size{3024, 4032}, up, Point{0, 10}},
		{"36", Size{100, 100}, noUp, Point{18, 18}},
		{"39", Size{2000, 400}, up, Point{128, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, err := NewBuckets(Size{512, 512}, c.bucketing)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := k.Place(c.image); err != nil || got.Crop != c.want {
				t.Errorf("crop %v, %v, want %v", got.Crop, err, c.want)
			}
		})
	}
}

func TestNoUpscaleRejectsSmallSides(t *testing.T) {
	k, err := NewBuckets(Size{512, 512}, noUp)
	if err != nil {
		t.Fatal(err)
	}
	for _, image := range []Size{{50, 80}, {80, 50}, {63, 64}, {100000, 70}, {0, 5}} {
		if got, err := k.Place(image); err == nil {
			t.Errorf("%v: placed at %v, want an error", image, got)
		}
	}
	if _, err := k.Place(Size{64, 64}); err != nil {
		t.Error(err)
	}
}

// TestPlacementAlwaysCovers: whatever the picture, the bucket lies inside the resized picture.
func TestPlacementAlwaysCovers(t *testing.T) {
	for _, bucketing := range []Bucketing{{}, up, noUp} {
		k, err := NewBuckets(Size{512, 650}, bucketing)
		if err != nil {
			t.Fatal(err)
		}
		for w := 64; w < 3000; w += 37 {
			for h := 64; h < 3000; h += 41 {
				p, err := k.Place(Size{w, h})
				if err != nil {
					if bucketing.NoUpscale {
						continue // too extreme for a bucket
					}
					t.Fatal(err)
				}
				if p.Crop.X < 0 || p.Crop.Y < 0 || p.Crop.X+p.Bucket.W > p.Resized.W || p.Crop.Y+p.Bucket.H > p.Resized.H || p.Bucket.W%8+p.Bucket.H%8 != 0 {
					t.Fatalf("%dx%d: %+v", w, h, p)
				}
			}
		}
	}
}

// TestBucketingOff is a resolution no VAE can take as it is: 512,650 of a preset that is around.
func TestBucketingOff(t *testing.T) {
	k, err := NewBuckets(Size{512, 650}, Bucketing{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := k.Place(Size{1000, 1000})
	if want := (Placement{Size{512, 648}, Size{648, 648}, Point{68, 0}}); err != nil || p != want {
		t.Errorf("%+v, %v, want %+v", p, err, want)
	}
	if len(k.Warnings()) != 1 {
		t.Errorf("warnings %q, want one about 650", k.Warnings())
	}
}
