package lora_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/lora/internal/loratest"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/f16"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/weights"
)

// TestWriteThenRead writes modules of all forms in every precision and wants the same ones back, rounded.
func TestWriteThenRead(t *testing.T) {
	targets := loratest.TinyTargets(t)
	var modules []lora.Module
	for _, target := range loratest.Standard(targets)[:40] {
		modules = append(modules, loratest.RandomModule(loratest.Rand(), target, 3))
	}
	for _, target := range targets.All() {
		if strings.HasSuffix(target.Name, "mid_block.resnets.0.conv1") {
			m := loratest.RandomModule(loratest.Rand(), target, 2)
			l := loratest.LowRank(m)
			l.Down, l.Mid = loratest.RandomFactor(loratest.Rand(), 2, target.Shape[1], 1, 1), loratest.RandomFactor(loratest.Rand(), 2, 2, 3, 3)
			m.Delta = l
			modules = append(modules, m)
		}
	}
	metadata := map[string]string{"ss_output_name": "näme", "ss_network_dim": "3", "modelspec.title": "<a & b>"}
	for _, c := range []struct {
		precision compute.DType
		round     func(float32) float32
	}{
		{compute.F32, func(v float32) float32 { return v }},
		{compute.F16, func(v float32) float32 { return f16.ToF32(f16.FromF32(v)) }},
		{compute.BF16, func(v float32) float32 { return f16.BF16ToF32(f16.F32ToBF16(v)) }},
	} {
		t.Run(c.precision.String(), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "written.safetensors")
			if err := lora.Write(path, modules, c.precision, metadata); err != nil {
				t.Fatal(err)
			}
			a := open(t, path, targets)
			for k, v := range metadata {
				if a.Metadata[k] != v {
					t.Errorf("metadata %s is %q, want %q", k, a.Metadata[k], v)
				}
			}
			if len(metadata) != 3 || len(a.Metadata) != 5 {
				t.Errorf("metadata are %v, given were %v", a.Metadata, metadata)
			}
			byName := map[string]lora.Module{}
			for _, m := range a.Modules {
				byName[m.Name] = m
			}
			for _, want := range modules {
				l := loratest.LowRank(want)
				for _, f := range []*lora.Factor{&l.Down, &l.Up, &l.Mid} {
					f.Data = append([]float32(nil), f.Data...)
					for i, v := range f.Data {
						f.Data[i] = c.round(v)
					}
				}
				want.Delta = l
				if !reflect.DeepEqual(byName[want.Name], want) {
					t.Fatalf("%s differs", want.Name)
				}
			}
			if len(byName) != len(modules) {
				t.Errorf("%d modules, want %d", len(byName), len(modules))
			}
		})
	}
}

// fileParts cuts a safetensors file in two.
func fileParts(t testing.TB, path string) (header, data []byte) {
	t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := 8 + binary.LittleEndian.Uint64(file)
	return file[:n], file[n:]
}

func hexSHA256(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// TestWriteKohya compares full-size files with what kohya's have: names, shapes, sizes, hashes.
func TestWriteKohya(t *testing.T) {
	targets := loratest.SD15Targets(t)
	all := loratest.Standard(targets)
	for _, c := range []struct {
		name             string
		rank             int
		text             bool
		modules, tensors int
		bytes            int
		empty            bool // the file ends before the window of the legacy hash
	}{
		{"rank 8", 8, true, 264, 792, 9437712, false},
		{"UNet only, rank 8", 8, false, 192, 576, 6783360, false},
		{"UNet only, rank 1", 1, false, 192, 576, 848256, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var modules []lora.Module
			r := loratest.Rand()
			for _, target := range all {
				if c.text || target.Kind == weights.KindUNet {
					modules = append(modules, loratest.RandomModule(r, target, c.rank))
				}
			}
			path := filepath.Join(t.TempDir(), "x.safetensors")
			if err := lora.Write(path, modules, compute.F16, map[string]string{"ss_v2": "False", "sss": "x", "modelspec.title": "one"}); err != nil {
				t.Fatal(err)
			}
			f, err := weights.OpenFile(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			header, data := fileParts(t, path)
			if len(modules) != c.modules || len(f.Names()) != c.tensors || len(data) != c.bytes {
				t.Errorf("%d modules, %d tensors, %d bytes; want %d, %d, %d", len(modules), len(f.Names()), len(data), c.modules, c.tensors, c.bytes)
			}
			if len(header)%8 != 0 {
				t.Errorf("the header takes %d bytes, no multiple of 8", len(header))
			}
			metadata := f.Metadata()
			if got, want := metadata["sshs_model_hash"], hexSHA256(data); got != want {
				t.Errorf("sshs_model_hash is %s, want %s", got, want)
			}

			// The legacy hash, from a file that has only the ss_ metadata.
			var tensors []weights.Tensor
			for _, name := range f.Names() {
				x, err := f.Tensor(name)
				if err != nil {
					t.Fatal(err)
				}
				tensors = append(tensors, x)
			}
			var bare bytes.Buffer
			if err := weights.Encode(&bare, tensors, map[string]string{"ss_v2": "False"}); err != nil {
				t.Fatal(err)
			}
			window := bare.Bytes()[min(bare.Len(), 0x100000):min(bare.Len(), 0x110000)]
			want := hexSHA256(window)[:8]
			if got := metadata["sshs_legacy_hash"]; got != want || (got == "e3b0c442") != c.empty {
				t.Errorf("sshs_legacy_hash is %s, want %s", got, want)
			}

			second := filepath.Join(t.TempDir(), "y.safetensors")
			if err := lora.Write(second, modules, compute.F16, map[string]string{"ss_v2": "False", "modelspec.title": "another"}); err != nil {
				t.Fatal(err)
			}
			again := open(t, second, targets)
			if again.Hash != metadata["sshs_model_hash"] || again.Metadata["sshs_legacy_hash"] != metadata["sshs_legacy_hash"] {
				t.Error("another title changes the hashes")
			}
		})
	}
	for _, c := range []struct {
		key   string
		shape compute.Shape
	}{
		{"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight", compute.Shape{8, 768}},
		{"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_up.weight", compute.Shape{320, 8}},
		{"lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight", compute.Shape{8, 320, 1, 1}},
		{"lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight", compute.Shape{320, 8, 1, 1}},
		{"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_ff_net_0_proj.lora_up.weight", compute.Shape{2560, 8}},
		{"lora_te_text_model_encoder_layers_0_mlp_fc2.lora_down.weight", compute.Shape{8, 3072}},
		{"lora_te_text_model_encoder_layers_0_mlp_fc2.alpha", compute.Shape{}},
	} {
		var modules []lora.Module
		for _, target := range all {
			if strings.HasPrefix(c.key, target.Key()+".") {
				modules = append(modules, loratest.RandomModule(loratest.Rand(), target, 8))
			}
		}
		path := filepath.Join(t.TempDir(), "x.safetensors")
		if err := lora.Write(path, modules, compute.F16, nil); err != nil {
			t.Fatal(err)
		}
		f, err := weights.OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if x, ok := f.Info(c.key); !ok || !x.Shape.Equal(c.shape) || x.DType != weights.F16 {
			t.Errorf("%s is %v %v, want F16 %v", c.key, x.DType, x.Shape, c.shape)
		}
		f.Close()
	}
}

// TestWriteErrors wants nothing to change on disk.
func TestWriteErrors(t *testing.T) {
	target := lora.Target{Kind: weights.KindUNet, Name: "conv_in", Shape: compute.Shape{4, 4, 3, 3}}
	changed := func(change func(m *lora.Module)) []lora.Module {
		m := loratest.RandomModule(loratest.Rand(), target, 2)
		change(&m)
		return []lora.Module{loratest.RandomModule(loratest.Rand(), lora.Target{Kind: weights.KindUNet, Name: "conv_out", Shape: compute.Shape{4, 4}}, 2), m}
	}
	good := changed(func(*lora.Module) {})
	for _, c := range []struct {
		name      string
		modules   []lora.Module
		precision compute.DType
		metadata  map[string]string
		say       string
	}{
		{"precision", good, compute.I32, nil, "save precision I32"},
		{"NaN", changed(func(m *lora.Module) { loratest.LowRank(*m).Up.Data[3] = float32(math.NaN()) }), compute.F32, nil, `tensor "lora_unet_conv_in.lora_up.weight": element 3 is NaN`},
		{"beyond F16", changed(func(m *lora.Module) { loratest.LowRank(*m).Down.Data[5] = 1e5 }), compute.F16, nil, "not finite in F16"},
		{"alpha", changed(func(m *lora.Module) { *m = loratest.WithAlpha(*m, math.Inf(1)) }), compute.F32, nil, "conv_in.alpha"},
		{"no factors", []lora.Module{{Target: target}}, compute.F32, nil, "do not make up"},
		{"misfit", changed(func(m *lora.Module) { m.Shape = compute.Shape{4, 5, 3, 3} }), compute.F32, nil, "do not make up"},
		{"short data", changed(func(m *lora.Module) {
			l := loratest.LowRank(*m)
			l.Up.Data = l.Up.Data[1:]
			m.Delta = l
		}), compute.F32, nil, "do not make up"},
		{"twice", append(good[:2:2], good[0]), compute.F32, nil, "appears twice"},
		{"metadata", good, compute.F32, map[string]string{"ss_tag": "\xff"}, "not UTF-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.safetensors")
			if err := os.WriteFile(path, []byte("before"), 0o666); err != nil {
				t.Fatal(err)
			}
			err := lora.Write(path, c.modules, c.precision, c.metadata)
			if err == nil || !strings.HasPrefix(err.Error(), "lora: ") || !strings.Contains(err.Error(), c.say) {
				t.Errorf("the error is %v\nwant %q in it", err, c.say)
			}
			entries, _ := os.ReadDir(filepath.Dir(path))
			if data, _ := os.ReadFile(path); string(data) != "before" || len(entries) != 1 {
				t.Errorf("the folder is changed: %d files, %q", len(entries), data)
			}
		})
	}
	if err := lora.Write(filepath.Join(t.TempDir(), "no", "x.safetensors"), good, compute.F32, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}
