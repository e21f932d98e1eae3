package computetest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestVocabulary finds the ops of package compute in its source and asks each for its five things: the compiler sees to
// shape and gradient rule, the conformance of package ref to an implementation of whatever has a case.
func TestVocabulary(t *testing.T) {
	cases := make(map[string]int)
	for _, c := range append(Cases(), GradientCases()...) {
		cases[c.op()]++
	}
	files, err := filepath.Glob("../*.go")
	if err != nil {
		t.Fatal(err)
	}
	rule := regexp.MustCompile(`(?m)^func \((?:op )?(\w+)\) infer\(`)
	ops := 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range rule.FindAllStringSubmatch(string(source), -1) {
			ops++
			if cases[m[1]] == 0 {
				t.Errorf("%s has no case", m[1])
			}
			if !strings.Contains(string(source), "\n// "+m[1]+" ") {
				t.Errorf("%s has no doc comment", m[1])
			}
		}
	}
	if ops < 30 || ops > 36 {
		t.Errorf("%d ops found, want about thirty: every one is work for every device", ops)
	}
}
