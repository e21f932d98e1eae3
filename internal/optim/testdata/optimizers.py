"""Writes optimizers.json: what the Python optimizers of sd-scripts make of a small problem, in float64.

pip install torch transformers prodigyopt==1.1.2 lion-pytorch==0.2.3 dadaptation==3.2 && python optimizers.py
"""

import json
import math
import sys

import torch
from dadaptation import DAdaptAdam
from lion_pytorch import Lion
from prodigyopt import Prodigy
from transformers.optimization import Adafactor

SHAPES = [(2, 3), (3, 2, 1, 1), (1, 2, 2, 2)]
STEPS = 20

CLASSES = {"AdamW": torch.optim.AdamW, "Lion": Lion, "SGDNesterov": torch.optim.SGD, "Adafactor": Adafactor, "Prodigy": Prodigy, "DAdaptAdam": DAdaptAdam}

CASES = [
    ("Lion", 1e-3, {}),
    ("Lion", 1e-3, {"betas": (0.8, 0.95), "weight_decay": 0.1}),
    ("SGDNesterov", 1e-2, {}),
    ("SGDNesterov", 1e-2, {"momentum": 0.5, "weight_decay": 0.1}),
    ("Adafactor", None, {}),
    ("Adafactor", None, {"warmup_init": True, "weight_decay": 0.1}),
    ("Adafactor", 1e-3, {"relative_step": False, "scale_parameter": False, "clip_threshold": 0.5, "decay_rate": -0.5}),
    ("Adafactor", 1e-3, {"relative_step": False, "beta1": 0.9, "eps": (1e-20, 1e-2)}),
    ("Prodigy", 1.0, {"d0": 1e-2}),
    ("Prodigy", 0.5, {"weight_decay": 0.01, "d_coef": 20.0, "use_bias_correction": True, "safeguard_warmup": True, "d0": 0.01}),
    ("Prodigy", 1.0, {"weight_decay": 0.01, "decouple": False, "beta3": 0.9, "growth_rate": 1.5, "d0": 1e-2, "betas": (0.8, 0.99)}),
    ("DAdaptAdam", 1.0, {"d0": 1e-3}),
    ("DAdaptAdam", 0.5, {"weight_decay": 0.1, "decouple": True, "d0": 1e-4, "growth_rate": 1.5}),
    ("DAdaptAdam", 1.0, {"weight_decay": 0.1, "d0": 1e-4}),
]


def single(values):
    return torch.tensor(values, dtype=torch.float32).double()


def run(name, rate, options):
    parameters, at = [], 0
    for shape in SHAPES:
        n = math.prod(shape)
        start = [0.0] * n if len(shape) == 4 and shape[0] == 3 else [math.cos(at + i) for i in range(n)]
        parameters.append(torch.nn.Parameter(single(start).reshape(shape)))
        at += n
    extra = {"nesterov": True, "momentum": 0.9} if name == "SGDNesterov" else {}
    optimizer = CLASSES[name](parameters, lr=rate, **(extra | options))
    for k in range(STEPS):
        at = 0
        for p in parameters:
            n = p.numel()
            push = torch.tensor([0.5 * math.sin(2 * (at + i)) + 0.1 * math.sin(k + at + i) for i in range(n)], dtype=torch.float64).reshape(p.shape)
            p.grad = (p.detach() - push).float().double()
            at += n
        optimizer.step()
    arguments = [f"{k}={v}" for k, v in options.items()]
    case = {"type": name, "args": arguments, "rate": rate or 0, "parameters": [p.detach().flatten().tolist() for p in parameters]}
    if "d" in optimizer.param_groups[0]:
        case["d"] = optimizer.param_groups[0]["d"]
    return case


with open("optimizers.json", "w") as f:
    json.dump({"steps": STEPS, "shapes": SHAPES, "cases": [run(*c) for c in CASES]}, f, indent=1)
