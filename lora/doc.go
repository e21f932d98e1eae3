// Package lora reads, applies and writes low-rank adapters of Stable Diffusion 1.x: small files that change what a
// checkpoint draws. A weight W becomes W + m·(alpha/r)·B·A with A ("down") of r rows, B ("up") of r columns and
// the user's strength m; see Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv:2106.09685).
//
// [Open] reads a file in any of the spellings in use (kohya, LDM block names, PEFT, every age of diffusers, LoCon) and
// resolves its tensors against the [Targets] of a model: a dictionary of all names that a weight goes by, made of the
// networks' own parameters, so nothing is guessed. What does not belong to the model is an error or listed.
// [Merge] lays adapters over a checkpoint's parameters, [Write] saves one in the form that A1111, ComfyUI and diffusers
// load, [Folder] finds them by the name in a prompt, [ParseTag] reads that name and its strengths.
//
// [Resize] gives an adapter other ranks, [Combine] makes one of several, [Extract] one of two checkpoints, [Inspect] and
// [Check] say what is in a file.
//
// Each [Module] is what one parameter becomes: a [LowRank] change, or a [LoHa], [LoKr], [GLoRA], [OFT], [IA3], [DoRA],
// [Difference] or [Replacement]. Files that hold anything else are refused by its name, never applied in part.
package lora
