package sd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/engine"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/weights"
)

// Options say how a pipeline is opened. The zero value takes everything from the checkpoint, knows no LoRAs by name and is
// silent.
type Options struct {
	Weights        weights.Options // what to take from where besides the checkpoint; without meaning for New, whose checkpoint is open
	LoRADirs       []string        // folders in which, and below which, LoRAs are looked for by name; see lora.Folder for the rules
	LoRA           string          // a LoRA that every prompt has, by its name, where it does not have it by itself: the web UI's "Add network to prompt"
	LoRAMultiplier *float64        // its weight: the web UI's "Default multiplier for extra networks"; nil is 1
	EmbeddingDirs  []string        // folders in which, and below which, textual inversions are: .pt, .bin and .safetensors, known to prompts by their names
	UpscalerDirs   []string        // folders in which models of the ESRGAN family are that Hires.Upscaler names: .pth, .pt and .safetensors
	VAEDirs        []string        // folders in which, and below which, VAEs are that Request.VAE names, and TAESD
	CheckpointDirs []string        // folders in which, and below which, checkpoints are that Refiner.Checkpoint and Hires.Checkpoint name
	Faces          FaceDetector    // finds the faces for Request.Faces; nil finds none
	Logger         *slog.Logger    // is told what adapters are applied and what is left out; nil is silent
}

// Pipeline is a checkpoint ready to make pictures on a device. Its methods may be called from several goroutines;
// the device runs one op at a time.
type Pipeline struct {
	checkpoint *weights.Checkpoint
	owned      bool // the checkpoint is closed with the pipeline
	device     compute.Device
	name       string
	path       string // of the checkpoint, beside which its VAE may be; "" if it is in no folder of the system
	log        *slog.Logger
	networks   *engine.Networks
	cache      *engine.Cache
	hash       atomic.Pointer[string] // the checkpoint's, as infotexts have it; nil until it is known

	files          sync.Mutex // guards the adapters on the host
	targets        *lora.Targets
	lora           lora.Tag // that every prompt has; without a name none
	folders        []string
	embeddingDirs  []string
	upscalerDirs   []string
	faces          FaceDetector
	embeddings     *embeddings           // nil until a prompt asks
	folder         *lora.Folder          // nil until a tag asks
	opened         map[string]openedFile // by path, of the last request
	added          map[string]openedFile // by name, of AddAdapter
	vaeDirs        []string
	vaes           map[string]vaeFile      // by path and state of the file
	tinies         map[string]*engine.Tiny // by the half that they have
	checkpointDirs []string
	others         map[string]*Pipeline // of other checkpoints, by path and state of the file
}

// Open opens the checkpoint at path, a diffusers folder or a single file, safetensors or PyTorch's, on dev, which the caller keeps
// and closes after the pipeline. It reads headers and configurations; weights are read when a picture first needs them.
// The error names the file and what to do about it.
func Open(ctx context.Context, path string, dev compute.Device, o Options) (*Pipeline, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("sd: opening %q: %w; name a .safetensors file or a diffusers folder", path, err)
	}
	ckpt, err := weights.Open(path, o.Weights)
	if err != nil {
		return nil, err
	}
	p, err := adopt(ctx, ckpt, nameOf(path), dev, o)
	if err == nil {
		p.path = path
	}
	return p, err
}

// OpenFS is Open for a diffusers folder at the root of a file system, such as one embedded in the program.
// The name stands in infotexts.
func OpenFS(ctx context.Context, fsys fs.FS, name string, dev compute.Device, o Options) (*Pipeline, error) {
	ckpt, err := weights.OpenFS(fsys, name, o.Weights)
	if err != nil {
		return nil, err
	}
	return adopt(ctx, ckpt, name, dev, o)
}

// New is Open for a checkpoint that is open already. The caller keeps it as well as the device, and closes both after the
// pipeline.
func New(ctx context.Context, ckpt *weights.Checkpoint, dev compute.Device, o Options) (*Pipeline, error) {
	p, err := open(ctx, ckpt, nameOf(ckpt.Path()), dev, o)
	if _, none := os.Stat(ckpt.Path()); err == nil && none == nil {
		p.path = ckpt.Path()
	}
	return p, err
}

// adopt is open for a checkpoint that the pipeline closes.
func adopt(ctx context.Context, ckpt *weights.Checkpoint, name string, dev compute.Device, o Options) (*Pipeline, error) {
	p, err := open(ctx, ckpt, name, dev, o)
	if err != nil {
		return nil, errors.Join(err, ckpt.Close())
	}
	p.owned = true
	return p, nil
}

// nameOf is what a checkpoint is called whose file or folder has the path.
func nameOf(path string) string {
	return strings.TrimSuffix(filepath.Base(filepath.Clean(path)), ".safetensors")
}

func open(ctx context.Context, ckpt *weights.Checkpoint, name string, dev compute.Device, o Options) (*Pipeline, error) {
	p := &Pipeline{
		checkpoint: ckpt, device: dev, name: name, log: cmp.Or(o.Logger, slog.New(slog.DiscardHandler)), folders: slices.Clone(o.LoRADirs), embeddingDirs: slices.Clone(o.EmbeddingDirs),
		upscalerDirs: slices.Clone(o.UpscalerDirs), faces: o.Faces,
		added:   make(map[string]openedFile),
		vaeDirs: slices.Clone(o.VAEDirs), vaes: make(map[string]vaeFile), tinies: make(map[string]*engine.Tiny),
		checkpointDirs: slices.Clone(o.CheckpointDirs), others: make(map[string]*Pipeline),
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if strings.ContainsAny(o.LoRA, ":>") {
		return nil, fmt.Errorf("sd: %w", invalid.Field("Options.LoRA", o.LoRA, "a name without : and >, as tags have it"))
	}
	if p.lora = (lora.Tag{Name: o.LoRA, Strength: lora.Strength{TextEncoder: 1}}); o.LoRAMultiplier != nil {
		p.lora.TextEncoder = *o.LoRAMultiplier
	}
	var err error
	if p.networks, err = engine.Open(ckpt); err != nil {
		return nil, err
	}
	p.cache = engine.NewCache(dev, p.networks, maxCompiled)
	return p, nil
}

// Name is the checkpoint's name as it stands in infotexts: its file or folder name without extension.
func (p *Pipeline) Name() string { return p.name }

// Side is the width and height in pixels of the pictures the model was trained on: 512 for SD 1.5.
func (p *Pipeline) Side() int {
	return p.networks.UNet.Config().SampleSize * p.networks.VAE.Config().ScaleFactor()
}

// Close releases everything the pipeline holds on the device, and closes the checkpoint if Open or OpenFS opened it.
func (p *Pipeline) Close() error {
	errs := []error{p.cache.Close()}
	for _, file := range p.vaes {
		errs = append(errs, file.checkpoint.Close())
	}
	for _, t := range p.tinies {
		errs = append(errs, t.Close())
	}
	for _, second := range p.others {
		errs = append(errs, second.Close())
	}
	if p.owned {
		errs = append(errs, p.checkpoint.Close())
	}
	return errors.Join(errs...)
}
