package esrgan

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/atelier-go/atelier/weights"
)

// FamilyError refuses a file that is sound but holds no network of this package.
type FamilyError struct {
	Path  string
	Found string // what it is, "" if that is not known either
	Key   string // the tensor that says so
}

// Error names the file, what it is and what to use.
func (e *FamilyError) Error() string {
	found := "no upscaler that is known here"
	if e.Found != "" {
		found = e.Found
	}
	return fmt.Sprintf("esrgan: %s: %s (it holds %.100q); use a model of the ESRGAN family: ESRGAN, BSRGAN, Real-ESRGAN or its compact form", e.Path, found, e.Key)
}

// others are upscalers of other designs, by a part of a key.
var others = []struct{ part, found string }{
	{"conv1x1", "ESRGAN+, whose blocks have a convolution more"},
	{"residual_group.blocks.0.attn.relative_position_bias_table", "SwinIR"},
	{"attn.temperature", "a model of the DAT or Restormer kind"},
	{"overlap_attn", "HAT"},
	{"relative_position", "a transformer, such as SwinIR, HAT or DAT"},
	{"m_body.0.", "ScuNET"},
	{"model.diffusion_model.", "a Stable Diffusion checkpoint"},
	{"lora_down", "a LoRA"},
	{"stylegan_decoder", "GFPGAN, which restores faces"},
}

// spelling is one way to name RRDBNet's parameters.
type spelling struct {
	mark     string // a key that every file of it has
	block    *regexp.Regexp
	replacer *strings.Replacer
}

var spellings = []spelling{
	{"body.0.rdb1.conv1.weight", regexp.MustCompile(`^body\.(\d+)\.`), strings.NewReplacer()},
	{"RRDB_trunk.0.RDB1.conv1.weight", regexp.MustCompile(`^RRDB_trunk\.(\d+)\.`),
		strings.NewReplacer("RRDB_trunk.", "body.", "RDB", "rdb", "trunk_conv.", "conv_body.", "upconv", "conv_up", "HRconv.", "conv_hr.")},
}

// recognised is a network of this package, of which one of the two is not nil, and how its file names the parameters.
type recognised struct {
	rrdb    *RRDBConfig
	compact *CompactConfig
	name    func(key string) string
}

// recognise tells a network by the keys and shapes of its file.
func recognise(f *weights.File) (recognised, error) {
	keys := make(map[string]string, len(f.Names())) // by the names without wrappers
	for _, key := range f.Names() {
		keys[bare(key)] = key
	}
	dim := func(name string, axis int) int {
		if t, ok := f.Info(keys[name]); ok && axis < len(t.Shape) {
			return t.Shape[axis]
		}
		return 0
	}
	if r, ok := recogniseOld(keys, dim); ok {
		return r, r.check(f)
	}
	for _, s := range spellings {
		if _, ok := keys[s.mark]; ok {
			r := s.recognise(keys, dim)
			return r, r.check(f)
		}
	}
	if dim("body.0.weight", 1) == 3 && dim("body.1.weight", 0) == dim("body.0.weight", 0) {
		r := recogniseCompact(keys, dim)
		return r, r.check(f)
	}
	return recognised{}, stranger(f)
}

// bare is a key without what wrappers of several cards put before it.
func bare(key string) string { return strings.TrimPrefix(strings.TrimPrefix(key, "module."), "netG.") }

// recognise reads the configuration of a network in this spelling.
func (s spelling) recognise(keys map[string]string, dim func(name string, axis int) int) recognised {
	name := func(key string) string { return s.replacer.Replace(bare(key)) }
	named := make(map[string]string, len(keys))
	c := &RRDBConfig{}
	for key := range keys {
		named[name(key)] = key
		if m := s.block.FindStringSubmatch(key); m != nil {
			c.Blocks = max(c.Blocks, number(m[1])+1)
		}
	}
	of := func(canonical string, axis int) int { return dim(named[canonical], axis) }
	for of(fmt.Sprintf("conv_up%d.weight", c.Upsamplings+1), 0) > 0 {
		c.Upsamplings++
	}
	c.measure(of)
	return recognised{rrdb: c, name: name}
}

// measure reads what the shapes say.
func (c *RRDBConfig) measure(dim func(name string, axis int) int) {
	c.Channels, c.Growth = dim("conv_first.weight", 0), dim("body.0.rdb1.conv1.weight", 0)
	for c.Unshuffle = 1; c.Unshuffle < 4 && 3*c.Unshuffle*c.Unshuffle < dim("conv_first.weight", 1); {
		c.Unshuffle *= 2
	}
}

var oldBlock = regexp.MustCompile(`^model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.(weight|bias)$`)
var oldLayer = regexp.MustCompile(`^model\.(?:1\.sub\.)?(\d+)\.(weight|bias)$`)

// recogniseOld knows the names of the first ESRGAN, which are places in sequences: model.0, the blocks model.1.sub.I, behind them
// the convolution over them, then a doubling every three places and two convolutions.
func recogniseOld(keys map[string]string, dim func(name string, axis int) int) (recognised, bool) {
	if _, ok := keys["model.1.sub.0.RDB1.conv1.0.weight"]; !ok {
		return recognised{}, false
	}
	c, last := &RRDBConfig{}, 0
	for key := range keys {
		if m := oldBlock.FindStringSubmatch(key); m != nil {
			c.Blocks = max(c.Blocks, number(m[1])+1)
		} else if m := oldLayer.FindStringSubmatch(key); m != nil && !strings.HasPrefix(key, "model.1.") {
			last = max(last, number(m[1]))
		}
	}
	c.Upsamplings = max(last-4, 0) / 3
	name := func(key string) string { return oldName(bare(key), *c) }
	named := make(map[string]string, len(keys))
	for key := range keys {
		named[name(key)] = key
	}
	c.measure(func(canonical string, axis int) int { return dim(named[canonical], axis) })
	return recognised{rrdb: c, name: name}, true
}

// oldName translates a key of the first ESRGAN; unknown ones stay as they are.
func oldName(key string, c RRDBConfig) string {
	if m := oldBlock.FindStringSubmatch(key); m != nil {
		return fmt.Sprintf("body.%s.rdb%s.conv%s.%s", m[1], m[2], m[3], m[4])
	}
	m := oldLayer.FindStringSubmatch(key)
	if m == nil {
		return key
	}
	at, inner := number(m[1]), strings.HasPrefix(key, "model.1.")
	layer := ""
	switch {
	case inner && at == c.Blocks:
		layer = "conv_body"
	case inner:
	case at == 0:
		layer = "conv_first"
	case at == 3*c.Upsamplings+2:
		layer = "conv_hr"
	case at == 3*c.Upsamplings+4:
		layer = "conv_last"
	case at%3 == 0 && at <= 3*c.Upsamplings:
		layer = fmt.Sprintf("conv_up%d", at/3)
	}
	if layer == "" {
		return key
	}
	return layer + "." + m[2]
}

// recogniseCompact counts convolutions, which are every second member of body.
func recogniseCompact(keys map[string]string, dim func(name string, axis int) int) recognised {
	c := &CompactConfig{Channels: dim("body.0.weight", 0), Layers: -1}
	for {
		if _, ok := keys[fmt.Sprintf("body.%d.weight", 2*c.Layers+4)]; !ok {
			break
		}
		c.Layers++
	}
	for 3*c.Scale*c.Scale < dim(fmt.Sprintf("body.%d.weight", 2*c.Layers+2), 0) && c.Scale < 16 {
		c.Scale++
	}
	return recognised{compact: c, name: bare}
}

// check bounds the configuration of a stranger's file.
func (r recognised) check(f *weights.File) error {
	const maxBlocks, maxChannels = 100, 1 << 10
	sound := true
	if c := r.rrdb; c != nil {
		sound = c.Blocks <= maxBlocks && c.Channels <= maxChannels && c.Growth <= maxChannels && c.Upsamplings <= 3 && c.Scale() >= 1
	}
	if c := r.compact; c != nil {
		sound = c.Layers >= 0 && c.Layers <= maxBlocks && c.Channels <= maxChannels && c.Scale >= 1
	}
	if !sound {
		return stranger(f)
	}
	for _, key := range f.Names() {
		if strings.Contains(key, "conv1x1") {
			return stranger(f)
		}
	}
	return nil
}

// stranger explains a file that is not recognised.
func stranger(f *weights.File) error {
	for _, o := range others {
		for _, key := range f.Names() {
			if strings.Contains(key, o.part) {
				return &FamilyError{f.Path(), o.found, key}
			}
		}
	}
	key := ""
	if names := f.Names(); len(names) > 0 {
		key = names[0]
	}
	return &FamilyError{Path: f.Path(), Key: key}
}

// number reads digits; those of a number beyond any file's give one that is.
func number(digits string) int {
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 1 << 20
	}
	return n
}
