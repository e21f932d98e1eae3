package portrait

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/atelier-go/atelier/internal/atomicfile"
	"github.com/atelier-go/atelier/internal/openfile"
)

// ledger is what is known of the stages of a job: a file that is replaced whole, so that what a killed program did is either in it or is
// done again.
type ledger struct {
	dir     string // of the job, in which all files are
	Format  int
	Entries map[Stage]*entry
}

// ledgerFormat is raised when the same photos and settings would make other files.
const ledgerFormat = 1

// entry is a stage.
type entry struct {
	Source  string            // tells everything that the stage follows from
	Done    bool              // with Files
	Files   map[string]string `json:",omitempty"` // the digests of what it left, by their paths below the job's folder, with slashes
	Seconds float64           // spent on it, in all runs
}

// ledgerName is the file's, in the folder for work.
const ledgerName = "stages.json"

// openLedger reads the ledger of a job. One that cannot be read, or is of another format, is begun anew: then everything is done again.
func openLedger(dir string) *ledger {
	l := &ledger{dir: dir}
	data, err := openfile.ReadFile(l.path(), 1<<24)
	if err != nil || json.Unmarshal(data, l) != nil || l.Format != ledgerFormat || l.Entries == nil {
		l.Format, l.Entries = ledgerFormat, make(map[Stage]*entry)
	}
	return l
}

func (l *ledger) path() string { return filepath.Join(l.dir, workFolder, ledgerName) }

func (l *ledger) save() error {
	data, err := json.MarshalIndent(l, "", "\t")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(l.path(), append(data, '\n'))
}

// whole reports whether a stage is done of the same, and what it left is as it left it.
func (l *ledger) whole(s Stage, source string) bool {
	e := l.Entries[s]
	if e == nil || !e.Done || e.Source != source {
		return false
	}
	for name, digest := range e.Files {
		if d, err := openfile.SHA256(filepath.Join(l.dir, filepath.FromSlash(name))); err != nil || d != digest {
			return false
		}
	}
	return true
}

// begin notes that a stage is being done. It tells whether it was begun before of the same, so that what is there of it can be gone on
// from.
func (l *ledger) begin(s Stage, source string) (again bool, err error) {
	e := l.Entries[s]
	if e != nil && e.Source == source && !e.Done {
		return true, nil
	}
	seconds := 0.0
	if again = e != nil && e.Source == source; again { // what is damaged is made anew, the rest is kept
		seconds = e.Seconds
	}
	l.Entries[s] = &entry{Source: source, Seconds: seconds}
	return again, l.save()
}

// spent adds to the time of a stage.
func (l *ledger) spent(s Stage, d time.Duration) { l.Entries[s].Seconds += d.Seconds() }

// end notes that a stage is done and what it left.
func (l *ledger) end(s Stage, files []string) error {
	e := l.Entries[s]
	e.Done, e.Files = true, make(map[string]string)
	for _, path := range files {
		name, err := filepath.Rel(l.dir, path)
		if err != nil {
			return err
		}
		if e.Files[filepath.ToSlash(name)], err = openfile.SHA256(path); err != nil {
			return err
		}
	}
	return l.save()
}

// names are the files of a stage, sorted.
func (l *ledger) names(s Stage) []string {
	if e := l.Entries[s]; e != nil {
		return slices.Sorted(maps.Keys(e.Files))
	}
	return nil
}

// sourceOf tells a stage that follows from others, and from values, from all other such stages.
func sourceOf(values ...any) (string, error) {
	data, err := json.Marshal(values)
	if err != nil {
		return "", err
	}
	return digestOf(data), nil
}

// StageError says at which stage a job ended. Started again with the same settings it goes on there.
type StageError struct {
	Stage  Stage
	Output string // the job's folder
	Err    error
}

// Error implements error.
func (e *StageError) Error() string {
	text := fmt.Sprintf("portrait: stage %q: %v", e.Stage, e.Err)
	if atomicfile.IsDiskFull(e.Err) {
		text += fmt.Sprintf("; no room is left where %s is: make some, then start again, and it goes on here", e.Output)
	}
	return text
}

// Unwrap is what went wrong.
func (e *StageError) Unwrap() error { return e.Err }

// remove removes what may not be there.
func remove(path string) error {
	if err := os.RemoveAll(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
