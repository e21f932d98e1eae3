package lora

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
	"strings"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/weights"
)

// Write saves modules in kohya's form, which A1111, ComfyUI and diffusers load: lora_down.weight, lora_up.weight,
// lora_mid.weight if there is one, and alpha, all of the given type, F32, F16 or BF16. The file appears all at once:
// a failure of any kind leaves what was at path before.
//
// metadata goes into the header beside the two hashes that Write adds in kohya's way: sshs_model_hash, of the tensor
// data, and sshs_legacy_hash. Equal arguments give equal bytes. A value that is not finite, or beyond the type, is an
// error that names the tensor.
func Write(path string, modules []Module, precision compute.DType, metadata map[string]string) error {
	tensors, err := encode(modules, precision)
	if err != nil {
		return fmt.Errorf("lora: %s: %w", path, err)
	}
	metadata = maps.Clone(metadata)
	if metadata == nil {
		metadata = make(map[string]string)
	}
	if err := addHashes(metadata, tensors); err != nil {
		return fmt.Errorf("lora: %s: %w", path, err)
	}
	if err := weights.Write(path, tensors, metadata); err != nil {
		return fmt.Errorf("lora: %w", err)
	}
	return nil
}

// encode lists the tensors of a file.
func encode(modules []Module, precision compute.DType) (tensors []weights.Tensor, err error) {
	if precision != compute.F32 && precision != compute.F16 && precision != compute.BF16 {
		return nil, fmt.Errorf("save precision %v: want F32, F16 or BF16", precision)
	}
	for i := range modules {
		m := &modules[i]
		l, ok := m.Delta.(LowRank)
		if !ok && m.Delta != nil {
			return nil, fmt.Errorf("module %q: %s; only LoRA is written", m.Name, m.Algorithm())
		}
		if !m.Complete() {
			return nil, fmt.Errorf("module %q: %s, which do not make up the weight %v", m.Name, l.shapes(), m.Shape)
		}
		factors := map[part]Factor{partDown: l.Down, partUp: l.Up, partAlpha: {compute.Shape{}, []float32{float32(l.Alpha)}}}
		if l.Mid.Data != nil {
			factors[partMid] = l.Mid
		}
		for p, f := range factors {
			x := weights.Tensor{
				Name: m.Key() + "." + string(p), DType: weights.DType(precision.String()), Shape: f.Shape, Data: make([]byte, len(f.Data)*precision.Size()),
			}
			weights.Narrow(x.Data, f.Data, precision)
			if at := compute.FirstNonFinite(precision, x.Data); at >= 0 {
				return nil, fmt.Errorf("tensor %q: element %d is %v, which is not finite in %v; nothing is written", x.Name, at, f.Data[at], precision)
			}
			tensors = append(tensors, x)
		}
	}
	return tensors, nil
}

// addHashes adds sshs_model_hash, of everything behind the header, and sshs_legacy_hash: 64 KiB at 1 MiB of the file
// as it would be with nothing but the ss_ entries in its metadata.
func addHashes(metadata map[string]string, tensors []weights.Tensor) error {
	data := &section{hash: sha256.New(), behindHeader: true, to: 1<<63 - 1}
	if err := weights.Encode(data, tensors, nil); err != nil {
		return err
	}
	ss := maps.Clone(metadata)
	maps.DeleteFunc(ss, func(key, _ string) bool { return !strings.HasPrefix(key, "ss_") })
	window := &section{hash: sha256.New(), from: 1 << 20, to: 1<<20 + 1<<16}
	if err := weights.Encode(window, tensors, ss); err != nil {
		return err
	}
	metadata["sshs_model_hash"] = hex.EncodeToString(data.hash.Sum(nil))
	metadata["sshs_legacy_hash"] = hex.EncodeToString(window.hash.Sum(nil))[:8]
	return nil
}

// section hashes the bytes [from,to) of a safetensors file that is written to it.
type section struct {
	hash         hash.Hash
	from, to     int64
	behindHeader bool // from is the end of the header
	at           int64
	size         []byte // the first 8 bytes: the length of the header
}

// Write implements io.Writer. It cannot fail.
func (s *section) Write(p []byte) (int, error) {
	if s.behindHeader && len(s.size) < 8 {
		s.size = append(s.size, p[:min(len(p), 8-len(s.size))]...)
		s.from = s.to // until the length is known
		if len(s.size) == 8 {
			s.from = 8 + int64(binary.LittleEndian.Uint64(s.size))
		}
	}
	n := int64(len(p))
	if from, to := max(s.from-s.at, 0), min(s.to-s.at, n); from < to {
		s.hash.Write(p[from:to])
	}
	s.at += n
	return len(p), nil
}
