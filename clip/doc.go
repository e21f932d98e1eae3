// Package clip turns a prompt into what the UNet's cross-attention reads: [Tokenizer] is CLIP's
// byte-pair encoder and Model the text tower of CLIP ViT-L/14 as Stable Diffusion 1.x uses it.
//
// A prompt becomes content ids ([Tokenizer.Encode]), then a sequence of 77 ids ([Tokenizer.Sequence]):
//
//	start + at most 75 content ids + end + padding
//
// The vocabulary of 49,408 tokens, shared by every CLIP release, is built in ([Default]), because
// single-file checkpoints carry none; model folders with a tokenizer of their own are read by
// [OpenTokenizer]. Ids are those of Hugging Face's tokenizers library: no HTML unescaping and no
// repair of mis-decoded text.
//
// The package knows no prompt weights, no chunks beyond 77 tokens and no BREAK: the prompt language
// lives in package sd, on top of content ids.
//
// See Radford et al., "Learning Transferable Visual Models From Natural Language Supervision"
// (arXiv:2103.00020) and Sennrich et al., "Neural Machine Translation of Rare Words with Subword
// Units" (arXiv:1508.07909).
package clip
