"""A model in miniature whose configuration differs from Stable Diffusion 1.5's wherever it may, and what diffusers and
transformers compute with it in float64, at sizes that halve unevenly.

    python make.py TOKENIZER    # a folder with CLIP's vocab.json and merges.txt; writes model/ and goldens/ beside this file
"""
import json, os, sys
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, UniPCMultistepScheduler
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
import diffusers, transformers

here = os.path.dirname(os.path.abspath(__file__))
torch.set_grad_enabled(False)
g = torch.Generator().manual_seed(11)
randn = lambda *shape: torch.randn(*shape, generator=g).double()


def fill(net, dtype):
    """Random values without trivial ones, exact in dtype."""
    for name, p in sorted(net.named_parameters()):
        if "token_embedding" in name:
            v = torch.randint(-1, 2, p.shape, generator=g) * 0.5  # compresses well
        elif p.dim() == 1:
            v = 0.2 * torch.randn(p.shape, generator=g) + (1.0 if "norm" in name and name.endswith("weight") else 0.0)
        else:
            v = torch.randn(p.shape, generator=g) / p[0].numel() ** 0.5
        p.data = v.to(dtype).double()
    return net.double().eval()


def save(net, folder, file, dtype):
    path = os.path.join(here, "model", folder)
    os.makedirs(path, exist_ok=True)
    save_file({k: v.to(dtype).contiguous() for k, v in net.state_dict().items() if not k.endswith("position_ids")},
              os.path.join(path, file), metadata={"format": "pt"})
    net.config.save_pretrained(path) if hasattr(net.config, "save_pretrained") else net.save_config(path)


# float16 text encoder with the exact GELU; keys without "text_model.", as transformers 5 writes them.
text = fill(CLIPTextModel(CLIPTextConfig(vocab_size=49408, hidden_size=12, intermediate_size=40, num_hidden_layers=4, num_attention_heads=3,
    hidden_act="gelu", layer_norm_eps=1e-4, projection_dim=12, bos_token_id=49406, eos_token_id=49407, pad_token_id=49407)), torch.float16)
# bfloat16 UNet of three levels: attention at the inner ones, one number of heads per level, linear projections.
unet = fill(UNet2DConditionModel(sample_size=12, block_out_channels=(16, 24, 40), layers_per_block=1,
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"),
    cross_attention_dim=12, attention_head_dim=(2, 3, 5), norm_num_groups=4, norm_eps=1e-4, use_linear_projection=True,
    flip_sin_to_cos=False, freq_shift=1), torch.bfloat16)
# float32 VAE of three levels: four pixels to a latent.
vae = fill(AutoencoderKL(down_block_types=["DownEncoderBlock2D"] * 3, up_block_types=["UpDecoderBlock2D"] * 3, block_out_channels=[4, 8, 12],
    layers_per_block=1, latent_channels=4, norm_num_groups=2, sample_size=32, scaling_factor=0.3), torch.float32)
save(text, "text_encoder", "model.safetensors", torch.float16)
save(unet, "unet", "diffusion_pytorch_model.safetensors", torch.bfloat16)
save(vae, "vae", "diffusion_pytorch_model.safetensors", torch.float32)

schedule = dict(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1)
os.makedirs(os.path.join(here, "model", "scheduler"), exist_ok=True)
for path, content in {
    "model/scheduler/scheduler_config.json": {"_class_name": "DDIMScheduler", **schedule, "clip_sample": False, "set_alpha_to_one": False},
    "model/model_index.json": {"_class_name": "StableDiffusionPipeline", "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
        "safety_checker": [None, None], "feature_extractor": [None, None]},
}.items():
    with open(os.path.join(here, path), "w") as f:
        json.dump(content, f, indent=2)


def golden(name, tensors, **metadata):
    metadata["made_with"] = f"diffusers {diffusers.__version__}, transformers {transformers.__version__}, torch {torch.__version__}, computed in float64"
    os.makedirs(os.path.join(here, "goldens"), exist_ok=True)
    save_file({k: v.float().contiguous().clone() if v.is_floating_point() else v.int() for k, v in tensors.items()},
              os.path.join(here, "goldens", name + ".safetensors"), metadata=metadata)


prompts = ["a lighthouse in the fog, oil on canvas", "", "blurry, lowres"]
ids = CLIPTokenizer.from_pretrained(sys.argv[1])(prompts, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
states = text(ids, output_hidden_states=True)
context = states.last_hidden_state
golden("clip", {"input_ids": ids, "last_hidden_state": context,
    "clip_skip_2": getattr(text, "text_model", text).final_layer_norm(states.hidden_states[-2]),
    **{f"hidden_states.{i}": h for i, h in enumerate(states.hidden_states)}}, prompts=json.dumps(prompts))

H, W = 13, 10  # latents; 13 → 7 → 4, 10 → 5 → 3
acts = {}


def watch(name):
    def hook(module, args, out):
        acts["act." + name] = out[0] if isinstance(out, tuple) else out
    return hook


hooks = [m.register_forward_hook(watch(n)) for n, m in unet.named_modules()
         if n in ("conv_in", "time_embedding", "mid_block") or n.split(".")[0] in ("down_blocks", "up_blocks")
         and (n.count(".") == 1 or n.count(".") == 3 and n.split(".")[2] in ("resnets", "attentions"))]
sample, timestep = randn(2, 4, H, W), torch.tensor([741, 3])
out = unet(sample, timestep, context[:2]).sample
golden("unet", {"sample": sample, "timestep": timestep, "encoder_hidden_states": context[:2], "out": out, **acts})
for h in hooks:
    h.remove()

# 52×40 pixels in one piece, and 84×76 in tiles of 32 that overlap by a quarter.
image, latent = torch.tanh(randn(1, 3, 4 * H, 4 * W)), randn(1, 4, H, W)
q = vae.encode(image).latent_dist
large_image, large_latent = torch.tanh(randn(1, 3, 84, 76)), randn(1, 4, 21, 19)
tensors = {"image": image, "encode.mean": q.mean, "encode.logvar": q.logvar, "latent": latent, "decode.out": vae.decode(latent).sample}
vae.enable_tiling()
q = vae.encode(large_image).latent_dist
tensors |= {"tiled.image": large_image, "tiled.encode.mean": q.mean, "tiled.encode.logvar": q.logvar,
            "tiled.latent": large_latent, "tiled.decode.out": vae.decode(large_latent).sample}
vae.disable_tiling()
golden("vae", tensors, scaling_factor=str(vae.config.scaling_factor))

for name, scheduler in {
    "ddim": DDIMScheduler(**schedule, clip_sample=False, set_alpha_to_one=False),
    "euler_karras": EulerDiscreteScheduler(**schedule, use_karras_sigmas=True),
    "dpmpp_2m": DPMSolverMultistepScheduler(**schedule),
    "unipc": UniPCMultistepScheduler(**schedule),
}.items():
    scheduler.set_timesteps(6)
    noise = randn(1, 4, H, W)
    x = noise * scheduler.init_noise_sigma
    tensors = {"noise": noise, "timesteps": scheduler.timesteps}
    for i, t in enumerate(scheduler.timesteps):
        uncond, cond = unet(scheduler.scale_model_input(torch.cat([x, x]), t), t, context[[2, 0]]).sample.chunk(2)
        x = scheduler.step(uncond + 5 * (cond - uncond), t, x).prev_sample
        tensors[f"latents.{i}"] = x
    tensors["image"] = vae.decode(x / vae.config.scaling_factor).sample
    golden("run_" + name, tensors, guidance_scale="5", steps="6", positive=prompts[0], negative=prompts[2], scheduler=type(scheduler).__name__,
           scheduler_config=json.dumps({k: v for k, v in scheduler.config.items() if not k.startswith("_")}, default=str))
