"""Times PyTorch (diffusers), OpenVINO and examples/bench on one Stable Diffusion 1.5 checkpoint, side by side.

Every program is a process that loads the checkpoint once and then runs one phase at a time when told to, so that
the programs take turns (A B C, A B C, ...) and whatever else the machine does meets all of them alike.

    python peers.py -checkpoint v1-5-pruned-emaonly.safetensors

README.md describes the phases, the line protocol between this script and the programs, and what the numbers mean.
"""

import argparse
import datetime
import hashlib
import json
import os
import platform
import shlex
import statistics
import struct
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

PICTURE = ("text_encoder", "unet_step", "vae_decode")
TRAINING = ("train_step", "train_step_checkpointed")
PEERS = ("torch-fp32", "torch-bf16", "openvino-fp32", "openvino-bf16")
LATENT = 64  # 512 pixels / 8

# A training step: kohya's modules by PEFT's names, and the usual learning rates.
RANK, TIMESTEP = 16, 500
TARGETS = {
    "text_encoder": ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"],
    "unet": ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"],
}
RATES = {"text_encoder": 5e-5, "unet": 1e-4}

# What a single-file checkpoint leaves unsaid: the configuration of Stable Diffusion 1.5.
UNET = dict(
    sample_size=64,
    in_channels=4,
    out_channels=4,
    layers_per_block=2,
    block_out_channels=[320, 640, 1280, 1280],
    down_block_types=["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    up_block_types=["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    cross_attention_dim=768,
    attention_head_dim=8,
)
VAE = dict(
    sample_size=512,
    in_channels=3,
    out_channels=3,
    latent_channels=4,
    layers_per_block=2,
    block_out_channels=[128, 256, 512, 512],
    down_block_types=["DownEncoderBlock2D"] * 4,
    up_block_types=["UpDecoderBlock2D"] * 4,
    norm_num_groups=32,
    scaling_factor=0.18215,
)
TEXT = dict(
    vocab_size=49408,
    hidden_size=768,
    intermediate_size=3072,
    num_hidden_layers=12,
    num_attention_heads=12,
    max_position_embeddings=77,
    hidden_act="quick_gelu",
    projection_dim=768,
    bos_token_id=49406,
    eos_token_id=49407,
    pad_token_id=49407,
)


# --- the three networks ---------------------------------------------------------------------------------------------


def load_networks(checkpoint, dtype, cache, parts=("text_encoder", "unet", "vae")):
    """Networks of a diffusers folder or a single .safetensors file, ready for inference."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel

    def load(part):
        kind = {"unet": UNet2DConditionModel, "vae": AutoencoderKL}.get(part)
        if checkpoint.is_dir():
            if part == "text_encoder":
                return CLIPTextModel.from_pretrained(checkpoint, subfolder=part, dtype=dtype)
            return kind.from_pretrained(checkpoint, subfolder=part, torch_dtype=dtype)
        if part == "text_encoder":
            return load_text_encoder(str(checkpoint), dtype)
        config = str(write_configs(cache))
        return kind.from_single_file(str(checkpoint), config=config, subfolder=part, torch_dtype=dtype)

    return tuple(load(part).eval() for part in parts)


def load_text_encoder(file, dtype):
    """The CLIP text encoder inside a single-file checkpoint; transformers itself reads only folders."""
    from safetensors import safe_open
    from transformers import CLIPTextConfig, CLIPTextModel

    model = CLIPTextModel(CLIPTextConfig(**TEXT)).to(dtype)
    # transformers 5 dropped the "text_model." level from its names; the files kept it.
    stem = "cond_stage_model.transformer."
    if not any(name.startswith("text_model.") for name in model.state_dict()):
        stem += "text_model."
    with safe_open(file, "pt") as tensors:
        names = [n for n in tensors.keys() if n.startswith(stem) and not n.endswith("position_ids")]
        state = {n.removeprefix(stem): tensors.get_tensor(n).to(dtype) for n in names}
    report = model.load_state_dict(state, strict=False)
    missing = [n for n in report.missing_keys if not n.endswith("position_ids")]
    if missing or report.unexpected_keys:
        sys.exit(f"{file}: text encoder: missing {missing}, unexpected {report.unexpected_keys}")
    return model


def write_configs(cache):
    """Writes the configurations where diffusers looks for them, so that loading a single file needs no network."""
    folder = cache / "sd15-config"
    for part, name, config in (("unet", "UNet2DConditionModel", UNET), ("vae", "AutoencoderKL", VAE)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / part / "config.json").write_text(json.dumps({"_class_name": name, **config}, indent=2))
    return folder


def inputs():
    """The same inputs for every Python peer: two prompts, one noisy latent under both of them, one clean latent."""
    import numpy as np

    start, end = 49406, 49407
    astronaut = [320, 1125, 539, 550, 18376, 6765, 320, 4558, 525, 7496]
    ids = np.array([[start, *prompt, *[end] * (76 - len(prompt))] for prompt in (astronaut, [])], dtype=np.int64)
    rng = np.random.default_rng(0)
    normal = lambda *shape: rng.standard_normal(shape, dtype=np.float32)
    noisy = np.repeat(normal(1, 4, LATENT, LATENT), 2, axis=0)
    return {
        "text_encoder": (ids,),
        "unet_step": (noisy, np.array([500, 500], dtype=np.int64), normal(2, 77, 768)),
        "vae_decode": (normal(1, 4, LATENT, LATENT),),
    }


def forwards(text, unet, vae):
    """The three phases as torch modules from tensors to one tensor."""
    import torch

    class TextEncoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = text

        def forward(self, ids):
            return self.net(ids, return_dict=False)[0]

    class UNetStep(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = unet

        def forward(self, sample, timestep, context):
            return self.net(sample, timestep, context, return_dict=False)[0]

    class VAEDecode(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = vae

        def forward(self, latent):
            return self.net.decode(latent, return_dict=False)[0]

    return {"text_encoder": TextEncoder(), "unet_step": UNetStep(), "vae_decode": VAEDecode()}


# --- workers: the peers' side of the line protocol ------------------------------------------------------------------


def torch_phases(precision, options):
    """Eager PyTorch with channels_last convolutions, the fastest layout of its CPU kernels; and what there is to tell."""
    import torch

    torch.set_num_threads(options.threads)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    if options.phases[0] in TRAINING:
        (name,) = options.phases
        step, facts = torch_training(name == "train_step_checkpointed", dtype, options)
        return {name: step}, facts
    torch.set_grad_enabled(False)
    modules = forwards(*load_networks(options.checkpoint, dtype, options.cache))

    def tensor(array):
        t = torch.from_numpy(array)
        t = t.to(dtype) if t.is_floating_point() else t
        return t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t

    def phase(module, arrays):
        module.to(memory_format=torch.channels_last)
        args = [tensor(a) for a in arrays]
        return lambda: module(*args).float().numpy()

    arrays = inputs()
    return {name: phase(module, arrays[name]) for name, module in modules.items()}, {}


def torch_training(checkpointed, dtype, options):
    """One step of training a LoRA with PEFT, as kohya's sd-scripts does it: the loss of a batch, its gradients, AdamW.

    Below float32 the frozen weights are of that type, the factors float32, and autocast chooses what is computed in
    which. What is random is drawn from one stream of seed 0, as examples/bench does.
    """
    import torch
    from diffusers import DDPMScheduler
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.lora import LoraLayer

    layers, groups, nets = {}, [], {}
    for part, net in zip(TARGETS, load_networks(options.checkpoint, dtype, options.cache, tuple(TARGETS))):
        net.requires_grad_(False)
        inject_adapter_in_model(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=TARGETS[part]), net)
        net.to(memory_format=torch.channels_last)
        own = {kohya_key(part, name): m for name, m in net.named_modules() if isinstance(m, LoraLayer)}
        for layer in own.values():
            layer.lora_A.float(), layer.lora_B.float()
            layer.cast_input_dtype_enabled = False  # autocast would only undo it
        groups.append({"params": [p for p in net.parameters() if p.requires_grad], "lr": RATES[part]})
        layers |= own
        nets[part] = net.train(checkpointed)
    text, unet = nets["text_encoder"], nets["unet"]
    if checkpointed:
        text.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        unet.enable_gradient_checkpointing()

    random = torch.Generator().manual_seed(0)
    shape = options.batch, LATENT, LATENT, 4
    latents, noise = (torch.randn(shape, generator=random).permute(0, 3, 1, 2) for _ in range(2))
    for _, layer in sorted(layers.items()):
        down = layer.lora_A["default"].weight
        bound = (down.numel() / RANK) ** -0.5
        down.data = (2 * torch.rand(down.shape, generator=random) - 1) * bound
    ids = torch.arange(options.batch * 77).reshape(options.batch, 77)
    timesteps = torch.full((options.batch,), TIMESTEP)
    schedule = DDPMScheduler(1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    parameters = [p for group in groups for p in group["params"]]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)

    def step():
        noisy = schedule.add_noise(latents, noise, timesteps).to(dtype)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype != torch.float32):
            context = text(ids, return_dict=False)[0]
            prediction = unet(noisy, timesteps, context, return_dict=False)[0]
        loss = torch.nn.functional.mse_loss(prediction.float(), noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    facts = {"modules": len(layers), "parameters": sum(p.numel() for p in parameters), "batch": options.batch}
    return step, facts


def kohya_key(part, name):
    """A module's name in kohya's files; transformers 5 dropped the "text_model." level from its names."""
    if part == "text_encoder":
        return "lora_te_" + f"text_model.{name.removeprefix('text_model.')}".replace(".", "_")
    return "lora_unet_" + name.replace(".", "_")


def openvino_phases(precision, options):
    """OpenVINO's CPU plugin on the converted networks, the latency hint and all threads on one request."""
    import openvino

    core = openvino.Core()
    folder = ir_folder(options.checkpoint, options.cache)
    hints = {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        "INFERENCE_NUM_THREADS": options.threads,
        "PERFORMANCE_HINT": "LATENCY",
    }

    def phase(name, arrays):
        request = core.compile_model(folder / f"{name}.xml", "CPU", hints).create_infer_request()
        return lambda: request.infer(list(arrays))[0]

    arrays = inputs()
    return {name: phase(name, arrays[name]) for name in PICTURE}, {}


def convert(checkpoint, cache):
    """Writes the OpenVINO form of the three networks, static at batch and size like the other programs' shapes."""
    import openvino
    import torch

    torch.set_grad_enabled(False)
    folder = ir_folder(checkpoint, cache)
    folder.mkdir(parents=True, exist_ok=True)
    modules, arrays = forwards(*load_networks(checkpoint, torch.float32, cache)), inputs()
    for name in PICTURE:
        example = tuple(torch.from_numpy(a) for a in arrays[name])
        model = openvino.convert_model(modules.pop(name), example_input=example)
        model.reshape({i: list(a.shape) for i, a in enumerate(arrays[name])})
        # fp16 files hold nothing that fp16 constants lose; for the others the constants stay fp32.
        openvino.save_model(model, folder / f"{name}.xml", compress_to_fp16=stored_dtype(checkpoint) == "F16")
        del model
    (folder / "complete").touch()


def ensure_converted(options):
    """Converts the checkpoint unless that is done, in a process of its own: its memory is not the peer's."""
    if (ir_folder(options.checkpoint, options.cache) / "complete").exists():
        return
    say("converting the checkpoint for OpenVINO (once)")
    log = options.cache / "convert.log"
    with open(log, "w") as out:
        status = subprocess.call(script(options, PICTURE, "-convert"), stdout=out, stderr=out, env=clean_environment())
    if status:
        raise ProgramError(f"the conversion ended with status {status}; {tail(log)}")


def ir_folder(checkpoint, cache):
    """Where the converted networks of this very checkpoint lie: named by path, size and time of change."""
    files = sorted(checkpoint.rglob("*.safetensors")) if checkpoint.is_dir() else [checkpoint]
    identity = [(str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    return cache / f"openvino-{hashlib.sha256(repr(identity).encode()).hexdigest()[:16]}"


def stored_dtype(checkpoint):
    """The type of the UNet's first convolution in the file, as safetensors spells it: F16, BF16 or F32."""
    if checkpoint.is_dir():
        file, name = next((checkpoint / "unet").glob("*.safetensors")), "conv_in.weight"
    else:
        file, name = checkpoint, "model.diffusion_model.input_blocks.0.0.weight"
    with open(file, "rb") as f:
        (size,) = struct.unpack("<Q", f.read(8))
        return json.loads(f.read(size)).get(name, {}).get("dtype", "unknown")


def work(options):
    """Serves one peer over stdin and stdout until "quit" or the end of input."""
    # Libraries print to stdout as they like; only the protocol may reach the parent there.
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    library, precision = options.worker.split("-")
    began = time.perf_counter()
    phases, facts = {"torch": torch_phases, "openvino": openvino_phases}[library](precision, options)
    ready = {"ready": True, "version": metadata.version(library), "precision": precision, "threads": options.threads}
    print(json.dumps({**ready, **facts, "load_seconds": time.perf_counter() - began}), file=out)

    for line in sys.stdin:
        phase = line.strip()
        if phase == "quit":
            return
        if phase not in phases:
            print(json.dumps({"error": f"unknown phase {phase!r}"}), file=out)
            continue
        began = time.perf_counter()
        result = phases[phase]()
        reply = {"phase": phase, "seconds": time.perf_counter() - began}
        reply |= {"loss": result} if phase in TRAINING else {"rms": root_mean_square(result)}
        print(json.dumps(reply), file=out)


def root_mean_square(array):
    import numpy as np

    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))


# --- the conductor --------------------------------------------------------------------------------------------------


class Program:
    """A running program that speaks the line protocol."""

    def __init__(self, name, command, logs):
        self.name, self.log = name, logs / f"{name}.log"
        self.began = time.perf_counter()
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                bufsize=1,
                env=clean_environment(),
            )
        self.seconds, self.beside, self.rms, self.losses = {}, {}, {}, []

    def wait_ready(self):
        self.ready = self.answer("ready")
        self.start_seconds = time.perf_counter() - self.began
        self.start_peak = self.peak_memory()

    def run(self, phase):
        try:
            print(phase, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass  # it has ended: answer says how
        reply = self.answer("seconds")
        if reply.get("phase") != phase:
            raise ProgramError(f"{self.name} answered for {reply.get('phase')!r}, asked for {phase!r}")
        if "loss" in reply:
            self.losses.append(reply["loss"])
        return reply

    def answer(self, key):
        line = self.process.stdout.readline()
        if not line:
            status = self.process.wait()
            raise ProgramError(f"{self.name} ended with status {status}; {tail(self.log)}")
        try:
            reply = json.loads(line)
        except ValueError:
            reply = None
        if not isinstance(reply, dict) or key not in reply:
            raise ProgramError(f"{self.name} wrote {line.strip()!r}, want a JSON object with {key!r}")
        return reply

    def peak_memory(self):
        """The largest peak resident set, in bytes, of the process and its children (go run is a parent)."""
        pids, peak = [self.process.pid], 0
        for pid in pids:
            proc = Path(f"/proc/{pid}")
            try:
                status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
                peak = max(peak, int(status["VmHWM"].split()[0]) * 1024)
                for task in (proc / "task").iterdir():
                    pids += map(int, (task / "children").read_text().split())
            except (FileNotFoundError, ProcessLookupError, KeyError):
                continue  # it ended meanwhile
        return peak

    def close(self):
        """Ends the program: by its own protocol, or by a signal when it does not listen."""
        try:
            self.process.stdin.write("quit\n")
            self.process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended already
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Crowd:
    """Processes that keep one processor busy each while they are gathered, and end with this one."""

    LOOP = (
        "import os, sys, threading; print('busy', flush=True); "
        "threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()\n"
        "while True: pass"
    )

    def __init__(self, number):
        self.number = number

    def __enter__(self):
        command = [sys.executable, "-c", self.LOOP]
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.processes = [subprocess.Popen(command, **pipes) for _ in range(self.number)]
        for process in self.processes:
            process.stdout.readline()
        self.began = time.perf_counter()
        return self

    def __exit__(self, *error):
        elapsed = time.perf_counter() - self.began
        seconds = 0
        for process in self.processes:
            process.stdin.close()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            process.stdout.close()
            seconds += usage.ru_utime + usage.ru_stime
        self.processors = seconds / elapsed


class ProgramError(Exception):
    """A program that ended early or broke the protocol."""


def tail(log):
    return f"{log} ends:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:])


def clean_environment():
    """The environment without what would hold a peer's kernels back, and without the network."""
    env = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    return {**env, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}


def commands(options, phases):
    """Name and command line of every program, ours first."""
    own = [*shlex.split(options.bench), "-interactive", "-model", options.checkpoint, "-threads", options.threads]
    own += ["-phases", ",".join(phases), "-batch", options.batch]
    result = {}
    if options.bench:
        for precision in options.precisions:
            result[f"atelier-{precision}"] = [*map(str, own), "-precision", precision]
    for peer in options.peers:
        if phases[0] in PICTURE or not peer.startswith("openvino"):
            result[peer] = script(options, phases, "-worker", peer)
    return result


def script(options, phases, *job):
    """This script, again, for a job in a process of its own."""
    shared = ["-checkpoint", options.checkpoint, "-threads", options.threads, "-cache", options.cache]
    shared += ["-phases", ",".join(phases), "-batch", options.batch]
    return [sys.executable, __file__, *map(str, shared), *job]


def runs(phases):
    """Which phases share a start of the programs: those of a picture; a training step has one to itself, so that its
    memory is its own."""
    picture = [phase for phase in phases if phase in PICTURE]
    return [picture] * bool(picture) + [[phase] for phase in phases if phase in TRAINING]


def measure(options, phases):
    """Starts the programs one after the other, then lets them take turns."""
    programs = []
    try:
        for name, command in commands(options, phases).items():
            say(f"loading {name}")
            programs.append(Program(name, command, options.cache))
            programs[-1].wait_ready()
        if not programs:
            raise ProgramError(f"none of the programs does {phases[0]}")
        facts = check_alike(programs)
        for phase in phases:
            for program in programs:
                say(f"warming up {phase} {program.name}")
                program.rms[phase] = program.run(phase).get("rms")
                program.seconds[phase] = []
            for turn in range(options.rounds):
                for program in programs:
                    time.sleep(0.3)  # the last program's spinning threads go to sleep
                    seconds = program.run(phase)["seconds"]
                    program.seconds[phase].append(seconds)
                    say(f"{phase} {turn + 1}/{options.rounds} {program.name} {seconds:.3f} s")
                    for number in options.beside:
                        with Crowd(number) as crowd:
                            seconds = program.run(phase)["seconds"]
                        program.beside.setdefault(phase, {}).setdefault(number, []).append((seconds, crowd.processors))
                        say(f"{phase} {turn + 1}/{options.rounds} {program.name} {seconds:.3f} s beside {number} busy")
        results = [
            {
                "name": p.name,
                "ready": p.ready,
                "start_seconds": p.start_seconds,
                "start_peak_rss": p.start_peak,
                "peak_rss": p.peak_memory(),
                "median": {phase: statistics.median(s) for phase, s in p.seconds.items()},
                "seconds": p.seconds,
                "beside": {phase: beside(p, phase) for phase in p.beside},
                **({"losses": p.losses} if p.losses else {"rms": p.rms}),
            }
            for p in programs
        ]
        return {"phases": phases, **facts, "programs": results, "ratios": ratios(results)}
    finally:
        for program in programs:
            program.close()


def beside(program, phase):
    """What a phase takes beside so many busy processes, in units of its time alone, and how many processors they had."""
    alone, result = statistics.median(program.seconds[phase]), {}
    for number, turns in program.beside[phase].items():
        seconds = statistics.median(s for s, _ in turns)
        processors = statistics.median(p for _, p in turns)
        result[number] = {"seconds": seconds, "ratio": seconds / alone, "processors": processors, "turns": turns}
    return result


def check_alike(programs):
    """What is trained, which must be the same in all programs; nothing for a picture."""
    facts = [{k: p.ready[k] for k in ("modules", "parameters", "batch") if k in p.ready} for p in programs]
    for program, own in zip(programs, facts):
        if own != facts[0]:
            raise ProgramError(f"{program.name} trains {own}, {programs[0].name} {facts[0]}")
    return facts[0]


def machine(options):
    """What the numbers depend on."""
    cpu = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    flags = next((set(line.split()) for line in open("/proc/cpuinfo") if line.startswith("flags")), set())
    return {
        "cpu": cpu[0] if cpu else platform.machine(),
        "features": sorted(flags & {"avx2", "fma", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_tile"}),
        "cores": len(cpu) or os.cpu_count(),
        "threads": options.threads,
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_average": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {
            name: metadata.version(name) for name in ("torch", "diffusers", "transformers", "peft", "openvino", "numpy")
        },
    }


def ratios(programs):
    """How long each of our programs takes, in units of each peer's time."""
    ours = [p for p in programs if p["name"].startswith("atelier-")]
    peers = [p for p in programs if not p["name"].startswith("atelier-")]
    return [
        {
            "name": own["name"],
            "peer": peer["name"],
            "ratio": {phase: own["median"][phase] / peer["median"][phase] for phase in own["median"]},
        }
        for own in ours
        for peer in peers
    ]


def table(report):
    """The report for people."""
    host = report["machine"]
    lines = [
        f"{host['cpu']}, {host['cores']} cores, {host['threads']} threads, load average {host['load_average']:.2f} before",
        f"{report['checkpoint']} ({report['stored_dtype']}), 512x512, medians of {report['rounds']} interleaved rounds",
    ]
    for run in report["runs"]:
        lines += ["", *run_table(run)]
    return "\n".join(lines)


def run_table(run):
    """What the programs did in one start."""
    phases, training = run["phases"], "modules" in run
    width = max(15, *(len(p) + 2 for p in phases))
    row = lambda head, cells, left=16: head.ljust(left) + "".join(f"{c:>{width}}" for c in cells)
    lines = []
    if training:
        lines.append(f"{run['modules']} modules of rank {RANK}, {run['parameters']} parameters, batch {run['batch']}")
    heads = [*phases, "a picture"] if training else phases
    lines.append(row("seconds", heads) + f"{'peak RSS':>12}{'start':>10}")
    for p in run["programs"]:
        times = [p["median"][phase] for phase in phases]
        times += [times[0] / run["batch"]] if training else []
        times = row(p["name"], (f"{t:.3f}" for t in times))
        lines.append(f"{times}{p['peak_rss'] / 1e9:>9.2f} GB{p['start_seconds']:>8.1f} s")
    if training:
        lines += ["", row("loss of step", [1, len(run["programs"][0]["losses"])])]
        lines += [row(p["name"], (f"{p['losses'][i]:.6f}" for i in (0, -1))) for p in run["programs"]]
    else:
        lines += ["", row("output rms", phases)]
        for p in run["programs"]:
            rms = (p["rms"][phase] for phase in phases)
            lines.append(row(p["name"], ("-" if v is None else f"{v:.5f}" for v in rms)))
    for number in next(iter(run["programs"][0]["beside"].values()), {}):
        lines += ["", row(f"beside {number} busy", phases) + "  in units of the time alone; processors that they had"]
        for p in run["programs"]:
            cells = (p["beside"][phase][number] for phase in phases)
            lines.append(row(p["name"], (f"{c['ratio']:.2f} {c['processors']:.2f}" for c in cells)))
    if run["ratios"]:
        lines += ["", row("time in units of", phases, 32)]
    for r in run["ratios"]:
        lines.append(row(f"{r['name']} / {r['peer']}", (f"{r['ratio'][p]:.3f}" for p in phases), 32))
    return lines


def say(text):
    print(text, file=sys.stderr, flush=True)


def listed(allowed):
    """An option's comma-separated list, each item one of allowed."""

    def parse(text):
        items = [item for item in text.split(",") if item]
        for item in items:
            if item not in allowed:
                raise argparse.ArgumentTypeError(f"{item!r} is none of {', '.join(allowed)}")
        return items

    return parse


def crowds(text):
    return [positive(item) for item in text.split(",") if item]


def positive(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def parse_options():
    p = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    p.add_argument("-checkpoint", type=Path, required=True, help="diffusers folder or single .safetensors file")
    p.add_argument("-bench", default="go run ./examples/bench", help="command of our program; empty for the peers alone")
    p.add_argument("-precisions", type=listed(("fp32", "bf16")), default=["fp32", "bf16"], help="of our program")
    p.add_argument("-peers", type=listed(PEERS), default=list(PEERS), help="default: " + ",".join(PEERS))
    known = PICTURE + TRAINING
    p.add_argument("-phases", type=listed(known), default=list(PICTURE), help="of " + ",".join(known) + "; default: the first three")
    p.add_argument("-batch", type=positive, default=1, help="pictures in a training step")
    p.add_argument("-rounds", type=positive, default=5, help="timed turns of every program, after one to warm up")
    p.add_argument("-beside", type=crowds, default=[], help="time each phase also beside so many busy processes (1,2)")
    p.add_argument("-threads", type=positive, default=len(os.sched_getaffinity(0)), help="of every program")
    cache = Path.home() / ".cache" / "atelier-peers"
    p.add_argument("-cache", type=Path, default=cache, help=f"folder of converted networks and logs (default {cache})")
    p.add_argument("-json", type=Path, help="file to write the report to")
    p.add_argument("-worker", choices=PEERS, help=argparse.SUPPRESS)
    p.add_argument("-convert", action="store_true", help=argparse.SUPPRESS)
    options = p.parse_args()
    if not options.checkpoint.exists():
        p.error(f"-checkpoint {options.checkpoint}: no such file or folder")
    if options.json and not options.json.absolute().parent.is_dir():
        p.error(f"-json {options.json}: its folder does not exist")
    if not options.peers and not options.bench:
        p.error("-peers and -bench are both empty: nothing to time")
    if not options.phases:
        p.error("-phases is empty: nothing to time")
    return options


def main():
    options = parse_options()
    options.cache.mkdir(parents=True, exist_ok=True)
    if options.worker:
        return work(options)
    if options.convert:
        return convert(options.checkpoint, options.cache)

    host = machine(options)
    try:
        groups = runs(options.phases)
        if groups[0][0] in PICTURE and any(peer.startswith("openvino") for peer in options.peers):
            ensure_converted(options)
        results = []
        for phases in groups:
            for peer in options.peers:
                if phases[0] in TRAINING and peer.startswith("openvino"):
                    say(f"{peer} is left out of {phases[0]}: OpenVINO computes no gradients")
            results.append(measure(options, phases))
    except (ProgramError, OSError) as err:
        sys.exit(f"peers: {err}")
    report = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "checkpoint": str(options.checkpoint),
        "stored_dtype": stored_dtype(options.checkpoint),
        "machine": host,
        "rounds": options.rounds,
        "runs": results,
    }
    print(table(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
