package main

import (
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/device"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/tinyportrait"
)

func TestHandler(t *testing.T) {
	dev, err := device.Open("auto", device.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	pipe, err := sd.OpenFS(t.Context(), tinyportrait.FS(), tinyportrait.Name, dev, sd.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	server := httptest.NewServer(handler(pipe))
	defer server.Close()
	for _, c := range []struct {
		body   string
		status int
		say    string // in the answer; "" wants a picture of 64×96
	}{
		{`{"prompt": "a man", "width": 64, "height": 96, "steps": 1}`, http.StatusOK, ""},
		{`{"width": 7}`, http.StatusBadRequest, "Request.Width is 7"},
		{`a man`, http.StatusBadRequest, "invalid character"},
	} {
		answer, err := http.Post(server.URL, "application/json", strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if answer.StatusCode != c.status {
			t.Errorf("%s: status %d, want %d", c.body, answer.StatusCode, c.status)
		}
		if c.say == "" {
			if picture, err := png.Decode(answer.Body); err != nil || picture.Bounds().Dx() != 64 || picture.Bounds().Dy() != 96 {
				t.Errorf("%s: %v, want a picture of 64×96", c.body, err)
			}
		} else if text, err := io.ReadAll(answer.Body); err != nil || !strings.Contains(string(text), c.say) {
			t.Errorf("%s: %q, %v; want %q", c.body, text, err, c.say)
		}
	}
}
