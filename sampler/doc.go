// Package sampler turns the choice of a sampler, a schedule and a number of steps into plain numbers.
//
// A [Plan] is a sequence of network evaluations. Around each of them stand linear combinations: which mixture of the kept
// state tensors enters the network, and which mixture of state, network output and noise becomes the next state.
// Prediction types, ancestral noise, multistep histories and predictor-corrector pairs are folded into their
// coefficients, so whoever runs a plan needs a network, a source of normal noise and one kind of arithmetic, and no
// knowledge of any sampler:
//
//	slot[0] = Start.Noise·noise + Start.Latent·latent; the other slots = 0
//	for each Eval that Run hands out:
//		input  = Σ Input.Slot[k]·slot[k] + Input.Noise·z
//		model  = guided network output for input at Eval.Timestep; unconditional = the output without the prompt
//		         (of an Unguided evaluation both come from the prompt alone)
//		slot[j] = Σ Update[j].Slot[k]·slot[k] + Update[j].Model·model + Update[j].Unconditional·unconditional
//		          + Update[j].Noise·z, for all j at once
//		answer with what Eval.Measure asks for
//	the latent is slot[0]
//
// Most plans are known as a whole before they run, and are a list ([Plan.Evals]); an adaptive one decides after each step
// how far the next one goes, from a distance between two slots that it has measured.
//
// [Plan.MasksInput] and [Eval.Known] say how a mask enters for inpainting, [Config.Settings] what infotexts tell of a run.
//
// Three ways lead to a plan. [New] follows the conventions of AUTOMATIC1111's web UI (k-diffusion samplers in sigma
// space, fractional timesteps), [Parse] reads its names, and [FromDiffusers] reproduces a scheduler_config.json of
// diffusers. [Schedule] and [Table] describe the noise the network was trained with; training uses them too.
//
// The package holds no tensors, knows no device and draws no noise. Besides the standard library it needs one function of
// gonum, the quantiles of the Beta schedule.
package sampler
