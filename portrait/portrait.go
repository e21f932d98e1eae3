// Package portrait is the way from snapshots of a person to two portraits, stage by stage.
//
// Check looks at a folder of photos and says of each whether to train on it, what is wrong with it and how to mend that. What
// finds faces is a face.Detector: face.Cascades for photos. Prepare makes a DataSet of those that are kept, and Recipe says how it is
// trained. An Exam, with a Scorer, tells how well each epoch knows the person, and Choose takes one and its weight. Rank puts drawn
// pictures in order, by faults, what a Judge says and sharpness, and a Frame crops them as LinkedIn and a curriculum vitae want them.
// Draw draws a request for many seeds, Finish writes the files for people, and Run does all of it, from the folder to the files.
//
//	for event, err := range portrait.Run(ctx, portrait.Config{Device: dev, Checkpoint: checkpoint, Photos: "me", Output: "portraits"}) {
//		…
//	}
package portrait
