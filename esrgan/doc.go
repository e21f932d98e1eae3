// Package esrgan makes pictures larger with the networks of the ESRGAN family: RRDBNet (ESRGAN, BSRGAN, Real-ESRGAN's x4plus,
// x2plus and Anime6B, and the hundreds of models people trained of it) and SRVGGNetCompact (Real-ESRGAN's general and anime video
// models). See Wang et al. (arXiv:1809.00219 and arXiv:2107.10833).
//
//	up, err := esrgan.Open("RealESRGAN_x4plus.pth", dev, esrgan.Options{})
//	if err != nil { … }
//	defer up.Close()
//	large, err := up.Upscale(ctx, picture)
//
// A network's files are read whatever their form, .pth or .safetensors, and whichever program's names they have. Pictures are
// cut into tiles that overlap, so that memory does not grow with them.
package esrgan
