package work_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/work"
	"github.com/atelier-go/atelier/tinyportrait"
)

// photos puts some of the sample photos, with their captions, into the queue's store.
func (s *studio) photos(n int) (files []work.DataFile) {
	s.Helper()
	const folder = "12_personname man"
	entries, err := fs.ReadDir(tinyportrait.Photos(), folder)
	s.check(err)
	for _, e := range entries {
		if path.Ext(e.Name()) == ".txt" {
			continue
		}
		if n--; n < 0 {
			break
		}
		for _, name := range []string{e.Name(), strings.TrimSuffix(e.Name(), path.Ext(e.Name())) + ".txt"} {
			data, err := fs.ReadFile(tinyportrait.Photos(), folder+"/"+name)
			s.check(err)
			input, err := work.PutInput(s.Context(), s.queue, name, data)
			s.check(err)
			files = append(files, work.DataFile{Path: "2_personname man/" + name, Input: input})
		}
	}
	return files
}

// TestTrain trains on one machine, which is stopped in the middle, and goes on on another.
func TestTrain(t *testing.T) {
	if testing.Short() {
		t.Skip("it trains three epochs on two machines, which package train tests on one")
	}
	s := newStudio(t)
	options := map[string]string{
		"network_dim": "2", "network_alpha": "2", "train_batch_size": "2", "max_train_epochs": "3", "save_every_n_epochs": "1", "resolution": "64", "min_bucket_reso": "64",
		"sample_every_n_epochs": "2", "seed": "1", "enable_bucket": "false",
	}
	j := s.submit(work.Train{Name: "me", Options: options, Data: s.photos(4), Prompts: "a man --w 64 --h 64 --s 2 --d 1"})
	stop := s.work("first")
	s.until(j.ID, func(j jobs.Job) bool {
		return slices.ContainsFunc(j.Files, func(f jobs.File) bool { return f.Name == "me-000001.safetensors" })
	})
	stop()
	if j, _ = s.queue.Job(j.ID); j.State != jobs.Pending {
		t.Fatalf("the job is %s, want pending: %s", j.State, j.Error)
	}
	other := s.another()
	other.work("second")
	j = s.done(j.ID)
	var losses work.Losses
	s.check(json.Unmarshal(s.result(j.ID, "losses.json"), &losses))
	steps := 0
	for i, p := range losses.Steps {
		if p.Step != i+1 {
			t.Fatalf("step %d is told as %d: %+v\n%s", i+1, p.Step, losses, s.result(j.ID, "report.txt"))
		}
		steps++
	}
	if steps != 12 || losses.Total != 12 || len(losses.Epochs) != 3 || len(losses.Samples) != 1 {
		t.Errorf("%d steps of %d, epochs %+v, samples %+v", steps, losses.Total, losses.Epochs, losses.Samples)
	}
	report := string(s.result(j.ID, "report.txt"))
	if !strings.Contains(report, "resumed: ") {
		t.Errorf("the second began anew:\n%s", report)
	}
	for _, want := range []string{"me.safetensors", "me-000001.safetensors", "me-000002.safetensors", losses.Samples[0].File} {
		if !slices.Contains(names(j), want) {
			t.Errorf("the results are %q; %s is missing", names(j), want)
		}
	}
	// What was trained draws, from the queue's store, on any machine.
	input, err := work.PutInput(t.Context(), s.queue, "me.safetensors", s.result(j.ID, "me.safetensors"))
	s.check(err)
	drawn := s.done(s.submit(work.Draw{Request: small("photo of personname man <lora:me:0.8>", 1), LoRAs: []string{input}}).ID)
	info, err := work.ReadInfo(t.Context(), s.queue, drawn.ID)
	s.check(err)
	if !strings.Contains(info.Pictures[0].Infotext, `Lora hashes: "me: `) {
		t.Errorf("the picture says %s", info.Pictures[0].Infotext)
	}
}

// TestTrainEnough ends a training behind an epoch: what it has learned by then is its result, which goes into the library, and it goes on from
// there when it is to.
func TestTrainEnough(t *testing.T) {
	if testing.Short() {
		t.Skip("it trains some epochs, as TestTrain does")
	}
	s := newStudio(t)
	s.collect(s.library, slog.DiscardHandler)
	s.work("a")
	options := map[string]string{"network_dim": "2", "network_alpha": "2", "max_train_epochs": "10000", "resolution": "64", "min_bucket_reso": "64", "enable_bucket": "false"}
	j := s.submit(work.Train{Name: "me", Options: options, Data: s.photos(2), Save: true})
	losses := func() (l work.Losses) {
		s.check(json.Unmarshal(s.result(j.ID, "losses.json"), &l))
		return l
	}
	enough := func() work.Losses {
		s.until(j.ID, func(j jobs.Job) bool { return j.Progress.Stage == "training" && j.Progress.Done > 0 })
		_, err := s.queue.Ask(t.Context(), j.ID, jobs.Finish)
		s.check(err)
		if j = s.until(j.ID, func(j jobs.Job) bool { return j.State.Ended() }); j.State != jobs.Done || !j.Partial || !slices.Contains(names(j), "me.safetensors") {
			t.Fatalf("it is %s, partial %t, with %q: %s", j.State, j.Partial, names(j), j.Error)
		}
		l := losses()
		if last := l.Epochs[len(l.Epochs)-1]; last.Step != len(l.Steps) {
			t.Errorf("it ended after step %d, and its last epoch after %d", len(l.Steps), last.Step)
		}
		return l
	}
	first, learned := enough(), s.result(j.ID, "me.safetensors")
	inLibrary := func(n int) func() bool { return func() bool { return len(s.library.LoRAs()) == n } }
	await(t, "it is in the library", inLibrary(1))
	again, err := s.queue.Again(t.Context(), j.ID, nil)
	s.check(err)
	j = s.until(again.ID, func(j jobs.Job) bool { return j.State == jobs.Running })
	second := enough()
	if report := string(s.result(j.ID, "report.txt")); !strings.Contains(report, "resumed: ") {
		t.Errorf("it began anew:\n%s", report)
	}
	if len(second.Epochs) <= len(first.Epochs) || bytes.Equal(learned, s.result(j.ID, "me.safetensors")) {
		t.Errorf("%d epochs, then %d, and what was learned is the same: %t", len(first.Epochs), len(second.Epochs), bytes.Equal(learned, s.result(j.ID, "me.safetensors")))
	}
	await(t, "what it has learned since is beside it", inLibrary(2))
}

// TestTrainRefused wants what a training cannot have to be told by its fields.
func TestTrainRefused(t *testing.T) {
	s := newStudio(t)
	for says, r := range map[string]work.Train{
		"Train.Name": {Name: "../me"}, "Train.Data[0].Path": {Name: "me", Data: []work.DataFile{{Path: "../x.png"}}},
	} {
		if _, err := work.Submit(t.Context(), s.queue, jobs.Job{}, r); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v; want %q in it", err, says)
		}
	}
	s.work("a")
	for says, options := range map[string]string{"Train.Options[output_dir]": "output_dir", "Train.Options[no_such]": "no_such"} {
		j := s.submit(work.Train{Name: "me", Options: map[string]string{options: "x"}})
		if j = s.until(j.ID, func(j jobs.Job) bool { return j.State.Ended() }); j.State != jobs.Failed || !strings.Contains(j.Error, says) {
			t.Errorf("%s is %s: %s", options, j.State, j.Error)
		}
	}
}
