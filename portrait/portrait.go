// Package portrait is the way from snapshots of a person to two portraits, stage by stage.
//
// Check looks at a folder of photos and says of each whether to train on it, what is wrong with it and how to mend that. What
// finds faces is a face.Detector: face.Cascades for photos. Prepare makes a DataSet of those that are kept, and Recipe says how it is
// trained. An Exam, with a Scorer, tells how well each epoch knows the person, and Choose takes one and its weight. Rank puts drawn
// pictures in order, by faults, what a Judge says and sharpness, and a Frame crops them as LinkedIn and a curriculum vitae want them.
//
//	report, err := portrait.Check(ctx, "photos", face.Cascades{}, portrait.CheckOptions{})
//	…
//	fmt.Println(report)
package portrait
