package picture

import (
	"context"
	"image"
	"image/draw"
	"os"
	"path/filepath"
	"testing"

	"github.com/atelier-go/atelier/internal/webui"
)

// TestWebUI compares with what AUTOMATIC1111's web UI made, see testdata/webui.
func TestWebUI(t *testing.T) {
	webui.Test(t, "grids", checkGrid)
	webui.Test(t, "combine_grid", checkJoin)
}

func checkGrid(t *testing.T, r struct {
	ID, Op    string
	Count     int
	BatchSize int `json:"batch_size"`
	Options   struct {
		Rows int  `json:"n_rows"`
		Full bool `json:"grid_prevent_empty_spots"`
	}
	Cols, Rows int
	Image      [2]int
	Tile       [2]int
	Overlap    int
	Tiles      [][3]any
}) {
	if r.Op == "image_grid" {
		rows := r.Options.Rows
		if rows == 0 {
			rows = r.BatchSize
		}
		if columns, rows := Arrange(r.Count, rows, r.Options.Full); columns != r.Cols || rows != r.Rows {
			t.Errorf("%s: %d pictures in %d columns and %d rows, want %d and %d", r.ID, r.Count, columns, rows, r.Cols, r.Rows)
		}
		return
	}
	var want []image.Rectangle
	for _, row := range r.Tiles {
		y, height := int(row[0].(float64)), int(row[1].(float64))
		for _, tile := range row[2].([]any) {
			x, width := int(tile.([]any)[0].(float64)), int(tile.([]any)[1].(float64))
			want = append(want, image.Rect(x, y, x+width, y+height))
		}
	}
	got := Tiles{r.Tile[0], r.Tile[1], r.Overlap}.Places(r.Image[0], r.Image[1])
	if len(got) != len(want) {
		t.Fatalf("%s: tiles at %v, want %v", r.ID, got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%s: tile %d at %v, want %v", r.ID, i, got[i], want[i])
		}
	}
}

func checkJoin(t *testing.T, r struct {
	ID, Image, Out string
	Tile           [2]int
	Overlap        int
}) {
	whole, want := webUIPicture(t, r.Image), webUIPicture(t, r.Out)
	tiles := Tiles{r.Tile[0], r.Tile[1], r.Overlap}
	var parts []*image.NRGBA
	for k, place := range tiles.Places(whole.Rect.Dx(), whole.Rect.Dy()) {
		part := image.NewNRGBA(image.Rect(0, 0, place.Dx(), place.Dy()))
		draw.Draw(part, part.Rect, whole, place.Min, draw.Src)
		for i, v := range part.Pix {
			if i%4 != 3 {
				part.Pix[i] = byte(min(max(int(v)+k*23%60-30, 0), 255))
			}
		}
		parts = append(parts, part)
	}
	got := tiles.Join(whole.Rect.Dx(), whole.Rect.Dy(), parts)
	for i, v := range want.Pix {
		if got.Pix[i] != v && i%4 != 3 {
			t.Fatalf("%s: byte %d is %d, want %d", r.ID, i, got.Pix[i], v)
		}
	}
}

// webUIPicture reads a picture of the records, from beside them or from the folder that the environment names.
func webUIPicture(t *testing.T, name string) *image.NRGBA {
	t.Helper()
	path := filepath.Join("testdata", "webui", name)
	if _, err := os.Stat(path); err != nil {
		path = filepath.Join(os.Getenv(webui.Variable), "img", name)
	}
	f, err := Open(path, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := f.Decode(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return img
}
