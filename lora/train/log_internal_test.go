package train

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLogFails cannot write or close its log: one warning says so, and the training ends as it would have.
func TestLogFails(t *testing.T) {
	for _, write := range []bool{true, false} {
		f, err := os.Create(filepath.Join(t.TempDir(), "log.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		var warnings []string
		r := &run{log: &log{lines: f}, Config: Config{Progress: func(p Progress) {
			if p.Phase == "warning" {
				warnings = append(warnings, p.Warning)
			}
		}}}
		if write {
			r.report(Progress{Phase: "epoch"})
			r.report(Progress{Phase: "epoch"})
		}
		if err := r.close(); err != nil {
			t.Errorf("the training ends with %v", err)
		}
		if len(warnings) != 1 || !strings.Contains(warnings[0], "logging_dir: ") {
			t.Errorf("after writing, %v, warnings are %q, want one", write, warnings)
		}
	}
}
