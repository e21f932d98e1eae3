package sd

// Speed is what a request gives up for time. Every field is off by default, and what is on stands in the infotext;
// docs/benchmarks.md has what each saves and how far pictures drift.
type Speed struct {
	MinUncond    float64 `json:"ngms,omitzero"`           // noise level (sigma) below which every second evaluation does without the negative prompt; "Negative Guidance minimum sigma" in the web UI
	MinUncondAll bool    `json:"ngms_all_steps,omitzero"` // all evaluations below it do
	SkipEarly    float64 `json:"skip_early_cfg,omitzero"` // part of the run, 0 to 1, at whose start evaluations do without the negative prompt
}
