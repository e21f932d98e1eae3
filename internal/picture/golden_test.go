package picture_test

import (
	"image"
	"os"
	"path/filepath"
	"testing"

	"github.com/atelier-go/atelier/internal/picture"
)

func decode(t testing.TB, path string) (*image.NRGBA, *picture.File) {
	t.Helper()
	f, err := picture.Open(path, picture.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := f.Decode(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return img, f
}

// TestPillow compares every picture of testdata with what Pillow shows of it. Lossy formats may differ by three levels, in
// the inverse transform of which each decoder has its own; all others may not.
func TestPillow(t *testing.T) {
	wanted, err := filepath.Glob("testdata/want/*.png")
	if err != nil || len(wanted) < 80 {
		t.Fatalf("%d pictures, %v", len(wanted), err)
	}
	for _, path := range wanted {
		name := filepath.Base(path[:len(path)-len(".png")])
		t.Run(name, func(t *testing.T) {
			got, _ := decode(t, filepath.Join("testdata", name))
			want, _ := decode(t, path)
			if got.Rect != want.Rect {
				t.Fatalf("%v, want %v", got.Rect, want.Rect)
			}
			tolerance := map[string]int{".jpg": 3, ".webp": 1}[filepath.Ext(name)]
			for i := range want.Pix {
				if d := int(got.Pix[i]) - int(want.Pix[i]); max(d, -d) > tolerance {
					t.Fatalf("(%d,%d) is %v, want %v", i/4%want.Rect.Dx(), i/4/want.Rect.Dx(), got.Pix[i&^3:][:4], want.Pix[i&^3:][:4])
				}
			}
		})
	}
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
