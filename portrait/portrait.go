// Package portrait is the way from snapshots of a person to two portraits, stage by stage.
//
// Check looks at a folder of photos and says of each whether to train on it, what is wrong with it and how to mend that. What
// finds faces is a face.Detector: face.Cascades for photos. Rank puts drawn pictures in order, by faults, Likeness and sharpness, and
// a Frame crops them as LinkedIn and a curriculum vitae want them.
//
//	report, err := portrait.Check(ctx, "photos", face.Cascades{}, portrait.CheckOptions{})
//	…
//	fmt.Println(report)
package portrait
