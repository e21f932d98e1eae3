package cli

import "testing"

func TestNamesOfPictures(t *testing.T) {
	d := naming{output: "x.jpg"}
	if first, second := d.path(0), d.path(1); first != "x.jpg" || second != "x-2.jpg" {
		t.Errorf("the pictures of x.jpg are %s and %s", first, second)
	}
}
