package jobs

import "testing"

// TestSkippedOnce has a wish to skip heard again, in records that were on their way when it was granted.
func TestSkippedOnce(t *testing.T) {
	record := Job{State: Running, Wish: Skip}
	task := &Task{Job: record}
	hear := func() { task.hear(&record, true, func(error) { t.Error("the task ends") }) }
	for round := range 2 {
		hear()
		written := record
		task.renew(&written) // it is being written while the handler grants the wish
		if !task.Skipped() {
			t.Fatalf("round %d: the wish is not heard", round)
		}
		record = written
		if hear(); task.Skipped() {
			t.Fatalf("round %d: one wish is granted twice", round)
		}
		if task.renew(&record); record.Wish != "" {
			t.Fatalf("round %d: the record still has the wish %q", round, record.Wish)
		}
		if hear(); task.Skipped() {
			t.Fatalf("round %d: no wish is granted", round)
		}
		record.Wish = Skip
	}
	if hear(); !task.Skipped() {
		t.Fatal("a later wish is not heard")
	}
	record.Wish = Finish
	if hear(); task.Wish() != Finish {
		t.Errorf("the wish is %q", task.Wish())
	}
}
