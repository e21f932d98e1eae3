package portrait

import (
	"time"

	"github.com/atelier-go/atelier/lora/train"
)

// Stage is a part of the way from photos to portraits. Run goes through them in the order of Stages.
type Stage string

// The stages.
const (
	Checking   Stage = "check"   // looks at the photos: Check
	Preparing  Stage = "prepare" // makes a data set of them: Prepare
	Training   Stage = "train"   // learns the person: Recipe, train.Run
	Choosing   Stage = "choose"  // tries epochs and weights on photos held out: Exam, Choose
	Drawing    Stage = "draw"    // draws candidates: Draw
	Ranking    Stage = "rank"    // looks at them: Rank
	Refining   Stage = "refine"  // draws the best ones larger: Draw
	Publishing Stage = "publish" // crops, writes the files that are for people, and the report
)

// Stages are all of them, in their order.
var Stages = []Stage{Checking, Preparing, Training, Choosing, Drawing, Ranking, Refining, Publishing}

// Event is something that happened in a job that [Run] does: one of the types below.
type Event interface{ event() }

// StageBegun is the beginning of a stage, the Number-th of Of.
type StageBegun struct {
	Stage
	Number, Of int
}

// StageDone is the end of a stage.
type StageDone struct {
	Stage
	Kept bool          // it was done before, of the same photos with the same settings
	Took time.Duration // in all runs together
}

// Progress tells how far a stage is.
type Progress struct {
	Stage
	Done, Total int
	Unit        string        // what is counted: "photo", "step", "trial", "picture"
	Each        time.Duration // that one takes, on average; 0 if it is not known yet
	Left        time.Duration // about how long the stage still takes; 0 if it is not known yet
}

// PhotoChecked is a photo with what was found. It comes when all have been looked at, because some findings are of several.
type PhotoChecked struct{ Photo Photo }

// DataSetMade is what will be learned.
type DataSetMade struct{ DataSet DataSet }

// Learning is an event of the training.
type Learning struct{ Event train.Event }

// Tried is an epoch that was tried at a weight.
type Tried struct{ Trial Trial }

// Chosen is the epoch and the weight to draw with, and LoRA the file that has it.
type Chosen struct {
	Choice Choice
	LoRA   string
}

// Drawn is a candidate that was drawn, or a picture that was drawn larger.
type Drawn struct {
	Stage // Drawing or Refining
	Seed  int64
	Path  string
}

// Ranked is the order of the candidates, the best first.
type Ranked struct{ Candidates []Candidate }

// Warning is something to be read that does not end the job.
type Warning struct{ Text string }

// Finished is the last event.
type Finished struct{ Result Result }

func (StageBegun) event()   {}
func (StageDone) event()    {}
func (Progress) event()     {}
func (PhotoChecked) event() {}
func (DataSetMade) event()  {}
func (Learning) event()     {}
func (Tried) event()        {}
func (Chosen) event()       {}
func (Drawn) event()        {}
func (Ranked) event()       {}
func (Warning) event()      {}
func (Finished) event()     {}

// Result is what a job leaves.
type Result struct {
	LinkedIn, CV []string // the PNG with its infotext, then the JPEG to be uploaded
	Best         []string // the finished pictures as they were drawn, the best first
	Sheet        string   // the contact sheet of all candidates
	LoRA         string
	Weight       float64  // of the LoRA, at which the pictures are drawn
	Report       string   // the page that tells everything
	Remaining    []string // after Config.Erase: what still shows the person or has learned the person
}

// Files are all of them.
func (r Result) Files() []string {
	files := append(append([]string{}, r.LinkedIn...), r.CV...)
	return append(append(files, r.Best...), r.Sheet, r.LoRA, r.Report)
}

// meter measures how fast a stage goes.
type meter struct {
	stage Stage
	unit  string
	since time.Time
	first int
}

// at is the progress when so much is done.
func (m *meter) at(done, total int) Progress {
	now := time.Now()
	if m.since.IsZero() {
		m.since, m.first = now, done
	}
	p := Progress{Stage: m.stage, Done: done, Total: total, Unit: m.unit}
	if done > m.first {
		p.Each = now.Sub(m.since) / time.Duration(done-m.first)
		p.Left = p.Each * time.Duration(total-done)
	}
	return p
}
