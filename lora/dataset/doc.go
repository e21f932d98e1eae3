// Package dataset turns folders of pictures and captions into the batches a LoRA is trained on, with the rules of
// kohya-ss/sd-scripts, so that existing folders and captions mean here what they mean there. Dataset configs are read by
// package kohya.
//
// A [Config] names the folders, either the parents of "N_name" folders (N repeats, fallback caption "name") or single
// folders. [Open] scans them, checks every picture by decoding it, reads the captions, sorts the pictures into aspect-ratio
// buckets and counts batches and steps; [Dataset.Report] tells all that in words before anything is computed.
// [Dataset.Epoch] yields the batches of one epoch:
//
//	for batch := range ds.Epoch(n) {      // n = 1, 2, …
//		for _, item := range batch.Items {
//			pixels, err := item.Image()   // [H,W,3] of batch.Bucket, −1…1
//			… item.Caption, item.LossWeight
//		}
//	}
//
// Every random choice (order, flips, crops, colours, captions) is a pure function of the seed, the epoch and the place
// in it: an epoch can be repeated, entered in the middle or walked twice and stays the same. The random streams are not
// those of Python, so orders differ from the reference's while sets and counts agree.
//
// Latents are computed elsewhere; [WriteLatents] and [ReadLatents] keep them beside the pictures in the .npz form of
// sd-scripts. The package knows no network, no tokenizer and no device.
package dataset
