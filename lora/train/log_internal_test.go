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
		l := &listener{log: &log{lines: f}, yield: func(e Event) bool {
			if w, ok := e.(Warning); ok {
				warnings = append(warnings, w.Text)
			}
			return true
		}}
		if write {
			l.report(EpochDone{})
			l.report(EpochDone{})
		}
		l.closeLog()
		if len(warnings) != 1 || !strings.Contains(warnings[0], "Config.Logging.Dir: ") {
			t.Errorf("after writing, %v, warnings are %q, want one", write, warnings)
		}
	}
}
