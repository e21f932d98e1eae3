"""What diffusers' UNet computes with FreeU, with token merging by the package tomesd, with self-attention in tiles and with cached deep
features, on the model in testdata/tiny-random.

    python options.py ../../testdata/tiny-random/model/unet    # writes options.safetensors beside this file
"""
import os, sys
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from tomesd.merge import bipartite_soft_matching_random2d

torch.set_grad_enabled(False)
unet = UNet2DConditionModel.from_pretrained(sys.argv[1]).double().eval()
g = torch.Generator().manual_seed(21)
randn = lambda *shape: torch.randn(*shape, generator=g).float().double()
height, width = 16, 12
sample, context = randn(2, 4, height, width), randn(2, 7, 32)
earlier = randn(2, 4, height, width)
timestep = torch.tensor([701.0, 90.5], dtype=torch.float64)
out = {"sample": sample, "earlier": earlier, "timestep": timestep, "encoder_hidden_states": context}
run = lambda x=sample: unet(x, timestep, context).sample


def attentions(level):
    """The self-attentions at a level, where maps have been halved so often."""
    blocks = [unet.down_blocks[level], unet.up_blocks[3 - level]]
    return [a.transformer_blocks[0].attn1 for b in blocks for a in getattr(b, "attentions", [])]


def around(level, before):
    """Self-attention sees before(tokens)[0], and before(tokens)[1] undoes that."""
    for m in attentions(level):
        inner = m.forward
        def forward(hidden_states, *args, inner=inner, **kwargs):
            tokens, undo = before(hidden_states)
            return undo(inner(tokens, *args, **kwargs))
        m.forward = forward


def restore():
    for level in range(3):
        for m in attentions(level):
            m.__dict__.pop("forward", None)


def tiles(level, h, w):
    rows, columns = (height >> level) // h, (width >> level) // w
    def before(x):
        n, _, c = x.shape
        y = x.view(n, rows, h, columns, w, c).permute(0, 1, 3, 2, 4, 5).reshape(n * rows * columns, h * w, c)
        undo = lambda y: y.view(n, rows, columns, h, w, c).permute(0, 1, 3, 2, 4, 5).reshape(n, -1, c)
        return y, undo
    return before


def merging(ratio):
    def before(x):
        merge, unmerge = bipartite_soft_matching_random2d(x, width, height, 2, 2, int(x.shape[1] * ratio), no_rand=True)
        return merge(x), unmerge
    return before


out["plain"] = run()
for name, (s1, s2, b1, b2) in {"freeu": (0.9, 0.2, 1.5, 1.6), "freeu backbone": (1.0, 1.0, 1.2, 1.4)}.items():
    unet.enable_freeu(s1=s1, s2=s2, b1=b1, b2=b2)
    out[name] = run()
    unet.disable_freeu()
around(0, tiles(0, 8, 6))
out["hypertile"] = run()
restore()
around(0, tiles(0, 4, 4))
around(1, tiles(1, 4, 6))
out["hypertile deep"] = run()
restore()
for ratio in (0.3, 0.5, 0.75):
    around(0, merging(ratio))
    out[f"merged {ratio}"] = run()
    restore()

resnets = [r for b in unet.up_blocks for r in b.resnets][::-1]  # from the outside
for layer in (0, 1, 4, 11):
    kept = []
    channels = {0: 16, 1: 16, 4: 32, 11: 48}[layer]
    hook = resnets[layer].register_forward_pre_hook(lambda m, args: kept.append(args[0][:, :channels]))
    run(earlier)
    hook.remove()
    hook = resnets[layer].register_forward_pre_hook(lambda m, args: (torch.cat([kept[0], args[0][:, channels:]], 1),) + args[1:])
    out[f"cached {layer}"] = run()
    hook.remove()

for name, x in out.items():
    if name not in ("plain", "sample", "earlier", "timestep", "encoder_hidden_states"):
        assert (x - out["plain"]).abs().max() > 1e-3, name
save_file({k: v.float().contiguous() for k, v in out.items()}, os.path.join(os.path.dirname(os.path.abspath(__file__)), "options.safetensors"))
