package dataset_test

import (
	"context"
	"fmt"
	"log"

	"github.com/atelier-go/atelier/lora/dataset"
)

// A folder of photos as people have it: "12_personname man" and "1_man" lie in the folder named.
func Example() {
	ctx := context.Background()
	ds, err := dataset.Open(ctx, dataset.Config{
		Sets: []dataset.Set{{
			TrainDataDir: "../../tinyportrait/photos",
			Resolution:   dataset.Size{W: 512, H: 512},
			BatchSize:    2,
			Bucketing:    dataset.Bucketing{Enable: true},
			Folder:       dataset.Subset{EXIFOrientation: true},
		}},
		MaxTrainEpochs: 12,
		Seed:           1,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(ds.Report())
	for batch := range ds.Epoch(1) {
		sample, err := batch.Items[0].Load(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(len(batch.Items), "pictures, as large as the bucket:", sample.Image.Rect.Dx() == batch.Bucket.W)
		break
	}
	// Output:
	// folder "12_personname man": 16 pictures × 12 repeats, 192 uses per epoch
	// folder "1_man": 12 pictures × 1 repeats, 12 uses per epoch
	// bucket 0: 448x576, 36 uses in 18 batches
	// bucket 1: 512x512, 144 uses in 72 batches
	// bucket 2: 576x448, 24 uses in 12 batches
	// mean ar error: 0.0049
	// first caption: "photo of personname man"
	// steps: 1224 = max_train_epochs 12 × 102 steps (102 batches)
	// 2 pictures, as large as the bucket: true
}
