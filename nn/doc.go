// Package nn has the layers Stable Diffusion's networks are made of. A layer is a struct with its parameters in checkpoint
// order, a constructor that claims them from a [Scope] under their diffusers names, and a Forward that records ops in
// a [compute.Builder]; it holds no weights and knows no device. The path of a recorded op equals the module path in
// the checkpoint: "down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_q".
//
// Images are [N,H,W,C], tokens [N,T,C]. Where a layer takes features in two parts (the running activation and a skip
// connection) they are read as one input of their channels together, without being copied together.
//
// Linear and Conv2D have a slot for an [Adapter], the low-rank change that training learns; [Layers] finds them by name.
package nn
