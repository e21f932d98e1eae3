package lora

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/weights"
	"github.com/atelier-go/atelier/weights/pickle"
)

// Adapter is a LoRA, held in memory. It is safe for concurrent use and not to be modified.
type Adapter struct {
	Path      string
	Metadata  map[string]string // of the file's header: "ss_output_name", …
	Modules   []Module          // in the order of Targets.All
	Unmatched []string          // tensors for modules the model does not have
	Ignored   []string          // tensors that are no part of the adapter: bundled embeddings
	Hash      string            // 64 hex digits: what the metadata call sshs_model_hash, else SHA-256 of the tensor data
}

// NewAdapter makes an adapter of modules in memory, as a training has them. Its name stands where a file's path does.
func NewAdapter(name string, modules []Module) (*Adapter, error) {
	tensors, err := encode(modules, compute.F32)
	if err != nil {
		return nil, fmt.Errorf("lora: %s: %w", name, err)
	}
	metadata := make(map[string]string)
	if err := addHashes(metadata, tensors); err != nil {
		return nil, fmt.Errorf("lora: %s: %w", name, err)
	}
	return &Adapter{Path: name, Modules: modules, Hash: metadata["sshs_model_hash"]}, nil
}

// String sums the adapter up: "x.safetensors: 264 modules (72 text encoder, 192 UNet) of rank 16; 0 tensors unmatched,
// 0 ignored".
func (a *Adapter) String() string {
	count, ranks := map[weights.Kind]int{}, [2]int{math.MaxInt, 0}
	for i := range a.Modules {
		count[a.Modules[i].Kind]++
		ranks = [2]int{min(ranks[0], a.Modules[i].Rank()), max(ranks[1], a.Modules[i].Rank())}
	}
	rank := fmt.Sprint(ranks[1])
	if ranks[0] < ranks[1] {
		rank = fmt.Sprintf("%d to %d", ranks[0], ranks[1])
	}
	return fmt.Sprintf("%s: %d modules (%d text encoder, %d UNet) of rank %s; %d tensors unmatched, %d ignored", a.Path,
		len(a.Modules), count[weights.KindTextEncoder], count[weights.KindUNet], rank, len(a.Unmatched), len(a.Ignored))
}

// Open reads the adapter at path, a safetensors file or one of PyTorch, for the model that the targets describe. Tensors for modules the
// model does not have are listed in Unmatched; if there are no others, if modules do not fit the model's weights, or if
// the file is no LoRA at all, the error is a *FamilyError. Kinds of adapters that are not supported are a *KindError,
// NaN and infinity a *NonFiniteError.
func Open(path string, t *Targets) (*Adapter, error) {
	f, err := weights.OpenFile(path)
	if err != nil {
		return nil, fmt.Errorf("lora: %w", err)
	}
	defer f.Close()
	a, err := read(f, t)
	if err != nil {
		return nil, err
	}
	if a.Hash = a.Metadata["sshs_model_hash"]; !isSHA256(a.Hash) {
		if a.Hash, err = DataHash(path); err != nil {
			return nil, fmt.Errorf("lora: %w", err)
		}
	}
	return a, nil
}

// read is Open without the hash.
func read(f *weights.File, t *Targets) (*Adapter, error) {
	if err := recognise(f.Path(), f.Names()); err != nil {
		return nil, err
	}
	a := &Adapter{Path: f.Path(), Metadata: f.Metadata()}
	keys := make([][parts]string, len(t.list)) // of each target's tensors
	isAdapter, matched, whole := false, false, ""
	for _, key := range f.Names() {
		if kind := otherKind(key); kind != "" {
			return nil, &KindError{a.Path, kind, key}
		}
		module, p, ok := splitKey(key)
		isAdapter = isAdapter || ok && p != alpha
		i, found := 0, false
		if ok {
			i, found = t.resolve(module)
			found = found && i != noTarget
		}
		switch {
		case strings.HasPrefix(key, "bundle_emb."):
			a.Ignored = append(a.Ignored, key)
		case !ok && t.isParam(key):
			whole = key
		case !found:
			a.Unmatched = append(a.Unmatched, key)
		case keys[i][p] != "":
			return nil, fmt.Errorf("lora: %s: both %.200q and %.200q are the %v of %q; the file is a bad merge, get another version",
				a.Path, keys[i][p], key, p, t.list[i].Name)
		default:
			keys[i][p], matched = key, true
		}
	}
	switch {
	case !isAdapter:
		return nil, notAdapter(a.Path, f.Names())
	case whole != "":
		return nil, &KindError{a.Path, wholeParameters, whole}
	case !matched:
		return nil, foreign(a.Path, a.Unmatched, a.Metadata)
	}
	settings, err := findSettings(f)
	if err != nil {
		return nil, fmt.Errorf("lora: %s: %w", a.Path, err)
	}
	if err := a.addModules(f, t, keys, settings); err != nil {
		return nil, err
	}
	return a, nil
}

// addModules reads the tensors of every target that has some.
func (a *Adapter) addModules(f *weights.File, t *Targets, keys [][parts]string, settings map[weights.Kind]*settings) error {
	for i, key := range keys {
		if key == [parts]string{} {
			continue
		}
		m, l := Module{Target: t.list[i]}, LowRank{}
		if key[down] == "" || key[up] == "" {
			return fmt.Errorf("lora: %s: module %q has no %v beside %q; the file is incomplete, get it again",
				a.Path, m.Name, missing(key), strings.Join(present(key), `", "`))
		}
		for p, factor := range map[part]*Factor{down: &l.Down, up: &l.Up, mid: &l.Mid} {
			if key[p] == "" {
				continue
			}
			var err error
			if *factor, err = ReadFactor(f, key[p]); err != nil {
				return fmt.Errorf("lora: %w", err)
			}
		}
		if len(l.Down.Shape) == 0 || l.Rank() == 0 {
			return fmt.Errorf("lora: %s: tensor %q is %v, which has no rank; get the file again", a.Path, key[down], l.Down.Shape)
		}
		l.Alpha = settings[m.Kind].alpha(m.Name, l.Rank())
		if key[alpha] != "" {
			value, err := ReadFactor(f, key[alpha])
			if err != nil {
				return fmt.Errorf("lora: %w", err)
			}
			if len(value.Data) != 1 {
				return fmt.Errorf("lora: %s: tensor %q is %v, want a single number", a.Path, key[alpha], value.Shape)
			}
			l.Alpha = float64(value.Data[0])
		}
		m.Delta = l
		a.Modules = append(a.Modules, m)
	}
	var misfits []*Module
	for i := range a.Modules {
		if m := &a.Modules[i]; !m.Complete() {
			misfits = append(misfits, m)
		}
	}
	if len(misfits) > 0 {
		return misfit(a.Path, misfits, len(a.Modules))
	}
	return nil
}

// missing is the part a module cannot do without and lacks.
func missing(keys [parts]string) part {
	if keys[down] == "" {
		return down
	}
	return up
}

// present lists the keys that are there.
func present(keys [parts]string) (list []string) {
	for _, key := range keys {
		if key != "" {
			list = append(list, key)
		}
	}
	return list
}

// ReadFactor copies a tensor and checks that it holds numbers.
func ReadFactor(f *weights.File, key string) (Factor, error) {
	x, err := f.Tensor(key)
	if err != nil {
		return Factor{}, err
	}
	switch x.DType {
	case weights.F32, weights.F16, weights.BF16, weights.F64, weights.F8E4M3, weights.F8E5M2, weights.I64, weights.I32:
	default:
		return Factor{}, fmt.Errorf("%s: tensor %q is %s; adapters are F32, F16 or BF16 (quantised ones are not supported: use the fp16 version)",
			f.Path(), key, x.DType)
	}
	factor := Factor{x.Shape, x.Float32s()}
	for i, v := range factor.Data {
		if notFinite(v) { // also an F64 beyond float32
			return Factor{}, &NonFiniteError{Path: f.Path(), Key: key, Index: i}
		}
	}
	return factor, nil
}

// notFinite reports whether v is NaN or infinite.
func notFinite(v float32) bool { return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) }

// isSHA256 reports whether s is 64 hexadecimal digits.
func isSHA256(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size
}

// DataHash is the SHA-256 of a safetensors file's tensor data, everything behind the header, in hexadecimal; of PyTorch's files
// it is that of the whole file.
func DataHash(path string) (string, error) {
	f, err := openfile.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var size [8]byte
	if _, err := io.ReadFull(f, size[:]); err != nil {
		return "", err
	}
	n := binary.LittleEndian.Uint64(size[:])
	start := int64(8 + n)
	switch {
	case pickle.Recognise(size[:]):
		start = 0
	case n > math.MaxInt64-8:
		return "", errors.New(path + ": replaced while it was read")
	}
	if _, err := f.Seek(start, io.SeekStart); err != nil {
		return "", err
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
