package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestDoctor(t *testing.T) {
	var out, log bytes.Buffer
	if err := run([]string{"-searched"}, &out, &log); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"self-test passed", "auto", "512×512", "cuDNN", "Nothing of CUDA has run on a card yet"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &out)
		}
	}
	if err := run([]string{"more"}, &out, &log); err == nil {
		t.Error("an argument that nobody asked for is taken")
	}
}
