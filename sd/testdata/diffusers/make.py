"""Goldens of diffusers' image-to-image and inpainting pipelines on the tiny random model.

python make.py MODEL OUT
MODEL is a diffusers folder; OUT gets one safetensors file a run with the picture (uint8, HWC), the mask, the latents
after every step (NCHW) and, for a UNet of nine input channels, the weights of the five that the model lacks. Noise is
PyTorch's CPU generator's of the seed in the metadata. Latents of pictures are the VAE's means.
"""
import sys
import diffusers, numpy as np, torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image
from safetensors.torch import save_file

model, out = sys.argv[1:3]
DiagonalGaussianDistribution.sample = lambda self, generator=None: self.mean
torch.set_grad_enabled(False)
side = 64
y, x = np.mgrid[:side, :side]
pixels = np.stack([(5 * x + 3 * y) % 256, (7 * y + x) % 256, 40 + 2 * x], -1).astype(np.uint8)
mask = np.zeros((side, side), np.uint8)
mask[16:48, 24:64] = 255
prompt, negative, guidance, seed, steps, strength = "photo of a man with a red beard", "woman, blurry", 7.5, 77, 10, 0.7
scheduler = diffusers.EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", use_karras_sigmas=True)


def run(kind, pipe):
    latents = {}
    pipe.scheduler = scheduler
    pipe.set_progress_bar_config(disable=True)
    def keep(pipe, i, t, kwargs):
        latents[f"latents.{i}"] = kwargs["latents"].float().contiguous().clone()
        return {}
    arguments = dict(prompt=prompt, negative_prompt=negative, image=Image.fromarray(pixels), strength=strength, num_inference_steps=steps,
                     guidance_scale=guidance, generator=torch.Generator().manual_seed(seed), output_type="latent",
                     callback_on_step_end=keep, callback_on_step_end_tensor_inputs=["latents"])
    if kind == "inpaint":
        arguments |= dict(mask_image=Image.fromarray(mask), height=side, width=side)
        latents["mask"] = torch.from_numpy(mask)
        latents["conv_in.weight"] = extra
    pipe(**arguments)
    latents["picture"] = torch.from_numpy(pixels)
    save_file(latents, f"{out}/{kind}.safetensors", metadata={
        "prompt": prompt, "negative_prompt": negative, "guidance_scale": str(guidance), "seed": str(seed), "steps": str(steps),
        "strength": str(strength), "made_with": f"diffusers {diffusers.__version__}, torch {torch.__version__}"})
    print(kind, sum(k.startswith("latents") for k in latents))


parts = dict(safety_checker=None, feature_extractor=None, requires_safety_checker=False)
pipe = diffusers.StableDiffusionImg2ImgPipeline.from_pretrained(model, torch_dtype=torch.float32, **parts)
run("img2img", pipe)
extra = torch.randn(pipe.unet.conv_in.out_channels, 5, 3, 3, generator=torch.Generator().manual_seed(9)) * 0.1
wide = torch.nn.Conv2d(9, pipe.unet.conv_in.out_channels, 3, padding=1)
wide.weight.data, wide.bias.data = torch.cat([pipe.unet.conv_in.weight, extra], 1), pipe.unet.conv_in.bias.data
pipe.unet.conv_in = wide
pipe.unet.register_to_config(in_channels=9)
pipe = diffusers.StableDiffusionInpaintPipeline(**{**pipe.components, "image_encoder": None}, requires_safety_checker=False)
run("inpaint", pipe)
