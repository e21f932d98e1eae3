package weights

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/invalid"
)

// Bounds on the JSON files of a folder; real ones are a few kilobytes, indices a few hundred.
const (
	maxConfigBytes = 1 << 20
	maxIndexBytes  = 16 << 20
	maxShards      = 1000
)

// stems are the names weight files have before their variant and extension.
var stems = []string{"diffusion_pytorch_model", "model", "pytorch_model"}

// variants are tried in this order when no file of the wanted or the plain name exists.
var variants = []string{"fp16", "bf16", "fp32", "non_ema", "ema"}

// ChooseFile picks, from the file names of a component's folder, the weights to load for a variant ("fp16",
// "bf16", "non_ema", … or "" for none): in this order the variant, the plain file, any other variant; for each the
// single file before the index of a sharded one. PyTorch's files (pytorch_model.bin) are taken where there are no safetensors
// files. It returns "" if there is nothing to pick.
func ChooseFile(names []string, variant string) string {
	if name := chooseFile(names, variant, ".safetensors"); name != "" {
		return name
	}
	return chooseFile(names, variant, ".bin")
}

func chooseFile(names []string, variant, ext string) string {
	has := func(name string) bool { return slices.Contains(names, name) }
	order := append([]string{variant, ""}, variants...)
	for _, v := range order {
		dotted := ""
		if v != "" {
			dotted = "." + v
		}
		for _, stem := range stems {
			for _, name := range []string{
				stem + dotted + ext,
				stem + ext + ".index" + dotted + ".json",
				stem + ext + dotted + ".index.json",
			} {
				if has(name) {
					return name
				}
			}
		}
	}
	for _, name := range slices.Sorted(slices.Values(names)) { // a variant of a name unknown here
		for _, stem := range stems {
			if strings.HasPrefix(name, stem+".") && strings.HasSuffix(name, ext) && !isShard.MatchString(name) {
				return name
			}
		}
	}
	return ""
}

var isShard = regexp.MustCompile(`-\d{5}-of-\d{5}`)

// ParseIndex reads the index of sharded weights: which tensor is in which shard. Shards are plain file names in
// the index's own folder, all safetensors files or all PyTorch's .bin.
func ParseIndex(index []byte) (shardOf map[string]string, err error) {
	w, err := newJSONWalker("index", index)
	if err != nil {
		return nil, err
	}
	shards, kind := map[string]bool{}, ""
	err = w.object("index", func(key string) error {
		if key != "weight_map" {
			return w.skip()
		}
		shardOf = map[string]string{}
		return w.object("weight_map", func(tensor string) error {
			shard, err := w.text(tensor)
			if err != nil {
				return err
			}
			if len(shardOf) >= maxTensors {
				return fmt.Errorf("index: more than %d tensors", maxTensors)
			}
			kind = cmp.Or(kind, filepath.Ext(shard))
			if kind != ".safetensors" && kind != ".bin" || filepath.Ext(shard) != kind || strings.ContainsAny(shard, `/\:`) || !filepath.IsLocal(shard) {
				return fmt.Errorf("index: shard %.100q of tensor %.100q is not the plain name of a .safetensors or .bin file like the others", shard, tensor)
			}
			shardOf[tensor], shards[shard] = shard, true
			if len(shards) > maxShards {
				return fmt.Errorf("index: more than %d shards", maxShards)
			}
			return nil
		})
	})
	if err == nil {
		err = w.end()
	}
	if err == nil && len(shardOf) == 0 {
		err = errors.New("index: no weight_map")
	}
	if err != nil {
		return nil, err
	}
	return shardOf, nil
}

// folder is a directory of a checkpoint with the path that messages call it by.
type folder struct {
	fsys fs.FS
	path string
}

func (d folder) at(name string) string { return filepath.Join(d.path, filepath.FromSlash(name)) }

func (d folder) sub(name string) (folder, bool) {
	info, err := fs.Stat(d.fsys, name)
	if err != nil || !info.IsDir() {
		return folder{}, false
	}
	fsys, err := fs.Sub(d.fsys, name)
	return folder{fsys, d.at(name)}, err == nil
}

// names lists the folder's plain files.
func (d folder) names() ([]string, error) {
	list, err := fs.ReadDir(d.fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("weights: %s: %w", d.path, err)
	}
	var names []string
	for _, e := range list {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// read returns a small file, nil if it does not exist.
func (d folder) read(name string, limit int64) ([]byte, error) {
	b, err := openfile.ReadFS(d.fsys, name, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("weights: %s: %w", d.path, err)
	}
	return b, nil
}

// open opens one file of the folder.
func (d folder) open(name string) (*File, error) {
	f, err := OpenFileFS(d.fsys, name)
	if err != nil {
		return nil, err
	}
	f.path = d.at(name)
	return f, nil
}

// openWeights opens the folder's weights, sharded or not.
func (d folder) openWeights(variant string) ([]*File, error) {
	names, err := d.names()
	if err != nil {
		return nil, err
	}
	name := ChooseFile(names, variant)
	if name == "" {
		return nil, fmt.Errorf("weights: %s: no weights (%s.safetensors or the like) in it", d.path, stems[0])
	}
	if !strings.HasSuffix(name, ".json") {
		f, err := d.open(name)
		if err != nil {
			return nil, err
		}
		return []*File{f}, nil
	}
	return d.openShards(name)
}

func (d folder) openShards(indexName string) (files []*File, err error) {
	index, err := d.read(indexName, maxIndexBytes)
	if err != nil {
		return nil, err
	}
	shardOf, err := ParseIndex(index)
	if err != nil {
		return nil, fmt.Errorf("weights: %s: %w", d.at(indexName), err)
	}
	defer func() {
		if err != nil {
			closeAll(files)
			files = nil
		}
	}()
	byName := map[string]*File{}
	for _, tensor := range slices.Sorted(maps.Keys(shardOf)) {
		shard := shardOf[tensor]
		f := byName[shard]
		if f == nil {
			if f, err = d.open(shard); err != nil {
				return files, fmt.Errorf("%w (a shard that %s names)", err, indexName)
			}
			byName[shard], files = f, append(files, f)
		}
		if !f.Has(tensor) {
			return files, fmt.Errorf("weights: %s: tensor %q is not in it, although %s says so", f.path, tensor, indexName)
		}
	}
	return files, nil
}

// isPickle goes by the extensions PyTorch's own format is saved under.
func isPickle(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".ckpt", ".pt", ".pth", ".bin":
		return true
	}
	return false
}

// isWeights goes by the extensions of weight files that are read here.
func isWeights(name string) bool {
	return strings.EqualFold(filepath.Ext(name), ".safetensors") || isPickle(name)
}

// openFolder reads a diffusers folder, or the folder of a single component.
func openFolder(d folder, opts Options) (*source, error) {
	s := newSource(d.path)
	s.root = d.fsys
	if opts.EMA {
		return nil, fmt.Errorf("weights: %s: %w", d.path, invalid.Field("Options.EMA", true,
			"false for a folder, where EMA weights are the default or a Variant (such as non_ema for the other ones)"))
	}
	absent, err := s.readModelIndex(d)
	if err != nil {
		return nil, err
	}
	for _, other := range []struct{ dir, found string }{{"text_encoder_2", "an SDXL pipeline"}, {"transformer", "an SD 3 or Flux pipeline"}} {
		if _, ok := d.sub(other.dir); ok && s.family == nil {
			s.family = &FamilyError{d.path, other.found, "it has a folder " + other.dir, needSD15}
		}
	}
	for _, kind := range Kinds {
		sub, ok := d.sub(string(kind))
		if !ok || absent[kind] {
			continue
		}
		if err := s.loadComponent(sub, kind, opts.Variant); err != nil {
			s.broken[kind] = err
		}
	}
	if len(s.components)+len(s.broken) == 0 {
		if err := s.loadBare(d, opts); err != nil {
			s.close()
			return nil, err
		}
	}
	if sub, ok := d.sub("tokenizer"); ok {
		s.tokenizer = sub.fsys
	}
	if sub, ok := d.sub("scheduler"); ok {
		if s.scheduler, err = sub.read("scheduler_config.json", maxConfigBytes); err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

// readModelIndex looks for a foreign pipeline class and for components declared absent.
func (s *source) readModelIndex(d folder) (absent map[Kind]bool, err error) {
	text, err := d.read("model_index.json", maxConfigBytes)
	if text == nil || err != nil {
		return nil, err
	}
	var index map[string]json.RawMessage
	if err := json.Unmarshal(text, &index); err != nil {
		return nil, fmt.Errorf("weights: %s: %w", d.at("model_index.json"), err)
	}
	var class string
	if json.Unmarshal(index["_class_name"], &class) == nil {
		s.family = recogniseClass(d.path, class)
	}
	absent = map[Kind]bool{}
	for _, kind := range Kinds {
		var pair []*string
		absent[kind] = json.Unmarshal(index[string(kind)], &pair) == nil && len(pair) == 2 && pair[1] == nil
	}
	return absent, nil
}

// loadComponent loads one sub-folder as the component it is named for.
func (s *source) loadComponent(d folder, kind Kind, variant string) error {
	config, err := d.read("config.json", maxConfigBytes)
	if err != nil {
		return err
	}
	files, err := d.openWeights(variant)
	if err != nil {
		return err
	}
	s.files = append(s.files, files...)
	return s.addKeys(files, func(key string) (Kind, string, bool) { return kind, placeIn(kind, key), true }, config)
}

// loadBare loads a folder whose files are at the top: one component, such as a VAE's own repository.
func (s *source) loadBare(d folder, opts Options) error {
	names, err := d.names()
	if err != nil {
		return err
	}
	if ChooseFile(names, opts.Variant) == "" {
		return notAModel(d, names)
	}
	config, err := d.read("config.json", maxConfigBytes)
	if err != nil {
		return err
	}
	files, err := d.openWeights(opts.Variant)
	if err != nil {
		return err
	}
	s.files = append(s.files, files...)
	return s.addKeys(files, place, config)
}

// notAModel explains a folder without anything to load.
func notAModel(d folder, names []string) error {
	single := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !isWeights(n) })
	if len(single) > 0 {
		return fmt.Errorf("weights: %s: not a diffusers folder; give the path of one of its files: %s", d.path, strings.Join(single[:min(len(single), 5)], ", "))
	}
	return fmt.Errorf("weights: %s: not a model: it has neither the folders unet, vae and text_encoder nor safetensors or .ckpt files", d.path)
}
