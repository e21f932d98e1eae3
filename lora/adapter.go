package lora

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/weights"
	"github.com/atelier-go/atelier/weights/pickle"
)

// Adapter is a LoRA, held in memory. It is safe for concurrent use and not to be modified.
type Adapter struct {
	Path       string
	Metadata   map[string]string // the free-form strings of the header: "ss_output_name", …
	Modules    []Module          // in the order of Targets.All
	Embeddings []Embedding       // that come with it
	Unmatched  []string          // tensors for modules the model does not have
	Ignored    []string          // tensors that change no module: those of Embeddings, and of embeddings for other models
	Hash       string            // 64 hex digits: what the metadata call sshs_model_hash, else SHA-256 of the tensor data
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
// 0 ignored", with the kinds of changes where they are not all LoRA.
func (a *Adapter) String() string {
	count, low, high := map[weights.Kind]int{}, math.MaxInt, 0
	var kinds []string
	for i := range a.Modules {
		m := &a.Modules[i]
		count[m.Kind]++
		if r := m.Rank(); r > 0 {
			low, high = min(low, r), max(high, r)
		}
		if name := m.Algorithm(); !slices.Contains(kinds, name) {
			kinds = append(kinds, name)
		}
	}
	if len(kinds) == 1 && kinds[0] == "LoRA" {
		kinds = nil
	}
	if low < high {
		kinds = append(kinds, fmt.Sprintf("rank %d to %d", low, high))
	} else if high > 0 {
		kinds = append(kinds, fmt.Sprintf("rank %d", high))
	}
	return fmt.Sprintf("%s: %d modules (%d text encoder, %d UNet) of %s; %d tensors unmatched, %d ignored", a.Path,
		len(a.Modules), count[weights.KindTextEncoder], count[weights.KindUNet], strings.Join(kinds, ", "), len(a.Unmatched), len(a.Ignored))
}

// Open reads the adapter at path, a safetensors file or one of PyTorch, for the model that the targets describe. Tensors for modules the
// model does not have are listed in Unmatched; if there are no others, if modules do not fit the model's weights, or if
// the file is no adapter at all, the error is a *FamilyError. Kinds of adapters that are not supported are a *KindError,
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
	case pickle.Recognise(f):
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
