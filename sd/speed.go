package sd

import (
	"strconv"

	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sd/infotext"
	"github.com/atelier-go/atelier/unet"
)

// Speed is what a request gives up for time. Every field is off by default, and what is on stands in the infotext;
// docs/benchmarks.md has what each saves and how far pictures drift.
type Speed struct {
	MinUncond    float64 `json:"ngms,omitzero"`           // noise level (sigma) below which every second evaluation does without the negative prompt; "Negative Guidance minimum sigma" in the web UI
	MinUncondAll bool    `json:"ngms_all_steps,omitzero"` // all evaluations below it do
	SkipEarly    float64 `json:"skip_early_cfg,omitzero"` // part of the run, 0 to 1, at whose start evaluations do without the negative prompt

	TokenMerging      float64   `json:"token_merging_ratio,omitzero"`    // part, 0 to 1, of the tokens that self-attention at the full resolution sees merged with similar ones
	TokenMergingHires float64   `json:"token_merging_ratio_hr,omitzero"` // of the hires pass; 0 is TokenMerging
	HyperTile         HyperTile `json:"hypertile,omitzero"`
	DeepCache         DeepCache `json:"deep_cache,omitzero"`
}

// HyperTile keeps self-attention within tiles of the picture.
type HyperTile struct {
	Tile  int `json:"tile,omitzero"`  // pixels: the least height and width of a tile, 32 or more; 0 is off
	Depth int `json:"depth,omitzero"` // levels below the full resolution that have tiles too, 0 to 3
}

// DeepCache computes the inner part of the UNet for some evaluations only, and uses it again in those between.
type DeepCache struct {
	Interval int `json:"interval,omitzero"` // every so many evaluations are whole, 2 or more; 0 is off
	Branch   int `json:"branch,omitzero"`   // layers, from the outside, that every evaluation computes besides the outermost
}

// resolveSpeed fills in defaults and checks what the sampler does not.
func (r *Request) resolveSpeed() (errs []error) {
	s := &r.Speed
	if r.Hires != nil {
		setDefault(&s.TokenMergingHires, s.TokenMerging)
	}
	check := func(ok bool, field string, value any, want string, args ...any) {
		if !ok {
			errs = append(errs, invalid.Field("Request."+field, value, want, args...))
		}
	}
	check(r.GuidanceRescale >= 0 && r.GuidanceRescale <= 1, "GuidanceRescale", r.GuidanceRescale, "a part from 0 to 1")
	for _, f := range []struct {
		name  string
		value float64
	}{{"B1", r.FreeU.B1}, {"B2", r.FreeU.B2}, {"S1", r.FreeU.S1}, {"S2", r.FreeU.S2}} {
		check(f.value >= 0 && f.value <= 10, "FreeU."+f.name, f.value, "a factor from 0 to 10")
	}
	check(s.TokenMerging >= 0 && s.TokenMerging <= 1, "Speed.TokenMerging", s.TokenMerging, "a part from 0 to 1")
	check(s.TokenMergingHires >= 0 && s.TokenMergingHires <= 1, "Speed.TokenMergingHires", s.TokenMergingHires, "a part from 0 to 1")
	check(s.HyperTile.Tile == 0 || s.HyperTile.Tile >= 32 && s.HyperTile.Tile <= MaxSide, "Speed.HyperTile.Tile", s.HyperTile.Tile, "0, or 32 to %d pixels", MaxSide)
	check(s.HyperTile.Depth >= 0 && s.HyperTile.Depth <= 3, "Speed.HyperTile.Depth", s.HyperTile.Depth, "0 to 3")
	check(s.DeepCache.Interval >= 0, "Speed.DeepCache.Interval", s.DeepCache.Interval, "0, or a number of evaluations from 2")
	check(s.DeepCache.Branch >= 0, "Speed.DeepCache.Branch", s.DeepCache.Branch, "0 or more")
	return errs
}

// network is what a pass asks of the UNet.
func (one *pass) network(scale int) unet.Options {
	s := one.request.Speed
	o := unet.Options{
		FreeU: one.request.FreeU, TokenMerging: s.TokenMerging,
		HyperTile: unet.HyperTile{Side: s.HyperTile.Tile / scale, Depth: s.HyperTile.Depth},
	}
	if one.first > 0 {
		o.TokenMerging = s.TokenMergingHires
	}
	return o
}

// speedFields are what infotexts say of what a resolved request changes in the network: in the words of the web UI and of its extension
// for HyperTile where it has them.
func (r Request) speedFields() (all []infotext.Field) {
	add := func(key, value string, set bool) {
		if set {
			all = append(all, infotext.Field{Key: key, Value: value})
		}
	}
	s := r.Speed
	add("Token merging ratio", number(s.TokenMerging), s.TokenMerging != 0)
	add("Token merging ratio hr", number(s.TokenMergingHires), s.TokenMergingHires != 0)
	if tile := s.HyperTile; tile.Tile != 0 {
		add("Hypertile U-Net", "True", true)
		add("Hypertile U-Net max depth", strconv.Itoa(tile.Depth), tile.Depth != 3)
		add("Hypertile U-Net max tile size", strconv.Itoa(tile.Tile), tile.Tile != hyperTile)
		add("Hypertile U-Net swap size", "1", true) // tiles do not change from step to step
	}
	add("DeepCache interval", strconv.Itoa(s.DeepCache.Interval), s.DeepCache.Interval > 1)
	add("DeepCache branch", strconv.Itoa(s.DeepCache.Branch), s.DeepCache.Interval > 1 && s.DeepCache.Branch > 0)
	add("CFG rescale", number(r.GuidanceRescale), r.GuidanceRescale != 0)
	for _, f := range []struct {
		key   string
		value float64
	}{{"FreeU b1", r.FreeU.B1}, {"FreeU b2", r.FreeU.B2}, {"FreeU s1", r.FreeU.S1}, {"FreeU s2", r.FreeU.S2}} {
		add(f.key, number(f.value), f.value != 0)
	}
	return all
}

// hyperTile is the web UI's size of tiles, which its infotexts leave out.
const hyperTile = 256

// pasteHyperTile reads that tiles are on; size and depth, which are read after it, are the web UI's until then.
func pasteHyperTile(r *Request, value string) error {
	if tile := &r.Speed.HyperTile; value == "True" {
		tile.Depth = 3
		setDefault(&tile.Tile, hyperTile)
	}
	return nil
}
