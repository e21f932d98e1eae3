// Package sd makes pictures with Stable Diffusion 1.x: it opens a checkpoint on a device and runs text encoder,
// UNet and VAE under a sampler.
//
//	dev, err := device.Open("auto", device.Options{})
//	pipe, err := sd.Open(ctx, "v1-5-pruned-emaonly.safetensors", dev, sd.Options{})
//	result, err := pipe.Generate(ctx, sd.Request{Prompt: "a lighthouse at dawn"})
//	err = result.Pictures[0].Save("lighthouse.png")
//
// A [Request] speaks the web UI's language, of which package sd/prompt tells, and has its conventions for noise, schedules and
// infotext, so that its users' prompts and seeds keep their meaning. [Pipeline.Steps] yields after every sampling step;
// [Pipeline.Generate] just runs to the end. LoRAs are applied by tags in the prompt, <lora:NAME:0.8>, which
// are looked for in Options.LoRADirs, or by Request.Adapters.
//
// With Request.Image a picture is drawn anew, with Request.Inpaint only what a mask covers of it. Checkpoints made for inpainting draw
// these best, and do everything else too.
//
// Further passes follow if the request asks for them: Request.Hires enlarges the picture and draws it anew in part, Request.Faces does so with
// each face. Request.Refiner names a checkpoint that takes over on the way. A [Picture] says in its infotext how it was made, and
// [FromInfotext] makes that a Request again.
//
// The package owns no model code and no kernels; see packages clip, unet, vae, sampler and compute for those.
package sd
