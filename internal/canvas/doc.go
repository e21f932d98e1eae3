// Package canvas is what happens to pictures, masks and latents around the network in img2img, inpainting, hires fix and sheets: sizes,
// crops, blends and composites, byte by byte as the A1111 web UI and the libraries below it (Pillow, OpenCV, PyTorch) make them.
package canvas
