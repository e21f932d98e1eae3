"""Writes schedules.json: the factors of learning rates that sd-scripts' get_scheduler_fix gets with lr_scheduler_args.

pip install torch transformers==4.54.1 && python schedules.py
"""

import ast
import json
from types import SimpleNamespace

from transformers import optimization as o

STEPS, WARMUP, DECAY, RATE = 40, 8, 12, 2e-4

# The schedule in the fields of package optim, and the arguments.
CASES = [
    ({"Type": "cosine"}, []),
    ({"Type": "cosine"}, ["num_cycles=1.5"]),
    ({"Type": "cosine"}, ["num_cycles=1", "last_epoch=-1"]),
    ({"Type": "polynomial"}, ["lr_end=5e-05"]),
    ({"Type": "polynomial", "Power": 2.0}, ["lr_end=0"]),
    ({"Type": "cosine_with_min_lr", "Cycles": 3}, ["min_lr=2e-05"]),
    ({"Type": "warmup_stable_decay", "Decay": DECAY, "MinRatio": 0.1}, ["warmup_type='cosine'", "decay_type='linear'"]),
    ({"Type": "warmup_stable_decay", "Decay": DECAY}, ["warmup_type='1-sqrt'"]),
    ({"Type": "warmup_stable_decay", "Decay": DECAY, "MinRatio": 0.2}, ["decay_type='1-sqrt'"]),
    ({"Type": "warmup_stable_decay", "Decay": DECAY, "Cycles": 3}, ["warmup_type='linear'", "decay_type='cosine'"]),
    ({"Type": "constant_with_warmup"}, ["last_epoch=-1"]),
]


def scheduler(s, kwargs):
    """Calls as get_scheduler_fix does."""
    optimizer, name = SimpleNamespace(defaults={"lr": RATE}), o.SchedulerType(s["Type"])
    function, cycles, ratio = o.TYPE_TO_SCHEDULER_FUNCTION[name], s.get("Cycles", 1), s.get("MinRatio")
    if name == o.SchedulerType.CONSTANT_WITH_WARMUP:
        return function(optimizer, num_warmup_steps=WARMUP, **kwargs)
    if name == o.SchedulerType.POLYNOMIAL:
        return function(optimizer, num_warmup_steps=WARMUP, num_training_steps=STEPS, power=s.get("Power", 1.0), **kwargs)
    if name == o.SchedulerType.COSINE_WITH_MIN_LR:
        return function(optimizer, num_warmup_steps=WARMUP, num_training_steps=STEPS, num_cycles=cycles / 2, min_lr_rate=ratio, **kwargs)
    if name == o.SchedulerType.COSINE:
        return function(optimizer, num_warmup_steps=WARMUP, num_training_steps=STEPS, **kwargs)
    stable = STEPS - WARMUP - DECAY
    return function(
        optimizer, num_warmup_steps=WARMUP, num_stable_steps=stable, num_decay_steps=DECAY, num_cycles=cycles / 2, min_lr_ratio=ratio or 0.0, **kwargs
    )


class Lambda:
    """Stands for torch's LambdaLR, which multiplies rates with these factors."""

    def __init__(self, optimizer, function, last_epoch=-1):
        self.function = function


o.LambdaLR = Lambda
all = []
for s, args in CASES:
    kwargs = {key: ast.literal_eval(value) for key, value in (a.split("=") for a in args)}
    f = scheduler(s, kwargs).function
    all.append({"Schedule": s | {"Steps": STEPS, "Warmup": WARMUP, "LearningRate": RATE}, "Args": args, "Factors": [float(f(step)) for step in range(STEPS + 3)]})
json.dump(all, open("schedules.json", "w"))
