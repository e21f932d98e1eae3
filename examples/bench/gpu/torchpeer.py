"""Times PyTorch (diffusers, PEFT) on a card, in half precision: what examples/bench/gpu times in Atelier.

    python torchpeer.py -checkpoint v1-5-pruned-emaonly.safetensors -mode eager -json torch.json

Attention is scaled_dot_product_attention, memory channels_last. -mode compile has torch.compile compile the networks, which takes
minutes before the first run, the one that does not count. The networks and inputs are those of ../peers/peers.py, and so are its requirements.
"""

import argparse
import json
import platform
import sys
import time
from importlib import metadata
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "peers"))
import peers  # noqa: E402

HALF = torch.float16


def network(net, options, mode):
    """A network on the card, compiled if that is asked for."""
    net = net.to(options.device, memory_format=torch.channels_last)
    return torch.compile(net, mode=mode) if options.mode == "compile" else net


def tensor(array, options):
    t = torch.from_numpy(array).to(options.device)
    t = t.to(HALF) if t.is_floating_point() else t
    return t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t


def picture_phases(options):
    """The phases of a picture, and a whole one: text, 20 steps of Euler with guidance, bytes of pixels on the host."""
    from diffusers import EulerDiscreteScheduler

    modules = peers.forwards(*peers.load_networks(options.checkpoint, HALF, options.cache))
    modules = {name: network(module, options, "max-autotune") for name, module in modules.items()}
    arrays = {name: [tensor(a, options) for a in inputs] for name, inputs in peers.inputs().items()}
    schedule = EulerDiscreteScheduler(1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")

    def phase(name):
        def run():
            with torch.inference_mode():
                modules[name](*arrays[name])

        return run

    def picture():
        with torch.inference_mode():
            context = modules["text_encoder"](*arrays["text_encoder"]).clone()  # a recorded graph writes its output anew
            schedule.set_timesteps(20, device=options.device)
            noise = torch.randn(1, 4, peers.LATENT, peers.LATENT, device=options.device, dtype=HALF)
            x = (noise * schedule.init_noise_sigma).contiguous(memory_format=torch.channels_last)
            for t in schedule.timesteps:
                both = schedule.scale_model_input(torch.cat([x, x]), t)
                cond, uncond = modules["unet_step"](both, t.expand(2), context).chunk(2)
                x = schedule.step(uncond + 7.5 * (cond - uncond), t, x).prev_sample.to(HALF)
            pixels = modules["vae_decode"](x / 0.18215)
            return ((pixels.float() / 2 + 0.5).clamp(0, 1) * 255).round().byte().cpu()

    return {**{name: phase(name) for name in modules}, "picture": picture}


def training_step(checkpointed, options):
    """One step of training a LoRA of both networks in mixed precision: frozen weights are halves, factors float32, the loss is scaled."""
    from diffusers import DDPMScheduler
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.lora import LoraLayer

    groups, nets = [], {}
    for part, net in zip(peers.TARGETS, peers.load_networks(options.checkpoint, HALF, options.cache, tuple(peers.TARGETS))):
        net.requires_grad_(False)
        inject_adapter_in_model(LoraConfig(r=peers.RANK, lora_alpha=peers.RANK, target_modules=peers.TARGETS[part]), net)
        for layer in (m for m in net.modules() if isinstance(m, LoraLayer)):
            layer.lora_A.float(), layer.lora_B.float()
            layer.cast_input_dtype_enabled = False  # autocast would only undo it
        net.train(checkpointed)
        nets[part] = net
        if checkpointed and part == "unet":
            net.enable_gradient_checkpointing()
        elif checkpointed:
            net.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    # Graphs of a step would have to outlive their own outputs: the text encoder's are the UNet's inputs, backward too.
    nets = {part: network(net, options, "max-autotune-no-cudagraphs") for part, net in nets.items()}
    for part, net in nets.items():
        groups.append({"params": [p for p in net.parameters() if p.requires_grad], "lr": peers.RATES[part]})
    parameters = [p for group in groups for p in group["params"]]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
    scaler = torch.amp.GradScaler("cuda", init_scale=2.0**12)
    schedule = DDPMScheduler(1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    shape = options.batch, 4, peers.LATENT, peers.LATENT
    latents, noise = (torch.randn(shape, device=options.device).contiguous(memory_format=torch.channels_last) for _ in range(2))
    ids = torch.arange(options.batch * 77, device=options.device).reshape(options.batch, 77)
    timesteps = torch.full((options.batch,), peers.TIMESTEP, device=options.device)

    def step():
        with torch.autocast("cuda", HALF):
            context = nets["text_encoder"](ids, return_dict=False)[0]
            prediction = nets["unet"](schedule.add_noise(latents, noise, timesteps).to(HALF), timesteps, context, return_dict=False)[0]
        scaler.scale(torch.nn.functional.mse_loss(prediction.float(), noise)).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    return step


def measure(name, run, options):
    """Times of rounds of one phase, after one that does not count."""
    times = []
    for turn in range(options.rounds + 1):
        torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        if turn:
            times.append(time.perf_counter() - start)
    print(f"{name}: {sorted(times)[len(times) // 2]:.4f} s", flush=True)
    return {"phase": name, "all_seconds": times}


def attempt(errors, name, work):
    """What the work gives; if it fails, that is noted and the next goes on."""
    try:
        return work()
    except Exception as err:  # of whatever kind: the other phases are still worth timing
        errors.append(f"{name}: {type(err).__name__}: {err}")
        print(errors[-1], flush=True)
        return None


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    p.add_argument("-checkpoint", type=Path, required=True)
    p.add_argument("-card", type=int, default=0)
    p.add_argument("-mode", choices=("eager", "compile"), default="eager")
    p.add_argument("-batch", type=peers.positive, default=2, help="pictures in a training step")
    p.add_argument("-rounds", type=peers.positive, default=20)
    p.add_argument("-cache", type=Path, default=Path.home() / ".cache" / "atelier-peers")
    p.add_argument("-json", type=Path, required=True)
    options = p.parse_args()
    if not torch.cuda.is_available():
        sys.exit("PyTorch sees no card")
    options.device = torch.device("cuda", options.card)
    torch.cuda.set_device(options.device)
    options.cache.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    timings, errors = [], []
    for name, run in (attempt(errors, "picture", lambda: picture_phases(options)) or {}).items():
        timings.append(attempt(errors, name, lambda: measure(name, run, options)))
    run = None  # the networks of pictures make room
    for name in peers.TRAINING:
        torch.cuda.empty_cache()
        timings.append(attempt(errors, name, lambda: measure(name, training_step(name == "train_step_checkpointed", options), options)))
    versions = {name: metadata.version(name) for name in ("torch", "diffusers", "transformers", "peft")}
    versions |= {"python": platform.python_version(), "cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}
    options.json.write_text(json.dumps({"timings": [t for t in timings if t], "versions": versions, "errors": errors}))


if __name__ == "__main__":
    main()
