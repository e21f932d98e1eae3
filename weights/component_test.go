package weights

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
)

// TestOpenParam reads every parameter in parts.
func TestOpenParam(t *testing.T) {
	unet := component(t, mustOpen(t, tinySingle, Options{}), KindUNet)
	for _, name := range unet.Names() {
		want, err := unet.ParamData(name)
		if err != nil {
			t.Fatal(err)
		}
		r := unet.OpenParam(name)
		for _, off := range []int{0, len(want) / 3, len(want) - 2} {
			got := make([]byte, min(10, len(want)-off))
			if _, err := r.ReadAt(got, int64(off)); err != nil || !bytes.Equal(got, want[off:off+len(got)]) {
				t.Errorf("%s at %d: %v, %v, want %v", name, off, got, err, want[off:off+len(got)])
			}
		}
		if n, err := r.ReadAt(make([]byte, 10), int64(len(want)-4)); n != 4 || err != io.EOF {
			t.Errorf("%s beyond its end: %d bytes, %v", name, n, err)
		}
	}
	if unet.OpenParam("nowhere") != nil {
		t.Error("an unknown parameter can be opened")
	}
}

// TestShapeVariants stores linear layers as convolutions and the other way round.
func TestShapeVariants(t *testing.T) {
	tiny := mustOpen(t, tinyFolder, Options{})
	t.Run("VAE attention", func(t *testing.T) {
		for _, extra := range []compute.Shape{{}, {1}, {1, 1}} {
			tensors := tensorsOf(t, component(t, tiny, KindVAE), func(name string) string { return name })
			for i := range tensors {
				if isVAEAttention(tensors[i].Name) {
					tensors[i].Shape = append(slices.Clone(tensors[i].Shape), extra...)
				}
			}
			c := mustOpen(t, writeTensors(t, tensors, nil), Options{})
			assertSame(t, component(t, c, KindVAE), component(t, tiny, KindVAE))
		}
	})
	t.Run("proj_in", func(t *testing.T) {
		const name = "down_blocks.0.attentions.0.proj_in.weight"
		for _, stored := range []compute.Shape{{16, 16}, {16, 16, 1, 1}} {
			for _, claimed := range []compute.Shape{{16, 16}, {16, 16, 1, 1}} {
				tensors := []Tensor{{name, F16, stored, make([]byte, 512)}}
				unet := component(t, mustOpen(t, writeTensors(t, tensors, nil), Options{}), KindUNet)
				unet.Claim(name, claimed...)
				if err := unet.Err(); err != nil {
					t.Errorf("stored %v, claimed %v: %v", stored, claimed, err)
				}
				if typ, _ := unet.ParamType(name); !typ.Shape.Equal(claimed) {
					t.Errorf("stored %v, claimed %v, handed out %v", stored, claimed, typ)
				}
			}
		}
	})
}

func TestNamesAreQuoted(t *testing.T) {
	tensors := []Tensor{{"model.diffusion_model.\x1b[2J\u202e", F32, compute.Shape{1}, make([]byte, 4)}}
	err := component(t, mustOpen(t, writeTensors(t, tensors, nil), Options{}), KindUNet).Err()
	if err == nil || strings.ContainsAny(err.Error(), "\x1b\u202e") || !strings.Contains(err.Error(), `\x1b[2J`) {
		t.Errorf("error %q", err)
	}
}

func TestClaims(t *testing.T) {
	tensors := []Tensor{
		{"conv_in.weight", F32, compute.Shape{2, 4, 3, 3}, make([]byte, 2*4*9*4)},
		{"conv_in.bias", I32, compute.Shape{2}, make([]byte, 8)},
		{"conv_out.extra", F32, compute.Shape{1}, make([]byte, 4)},
		{"conv_norm_out.weight", F32, compute.Shape{2}, make([]byte, 8)},
	}
	path := writeTensors(t, tensors, nil)
	unet := component(t, mustOpen(t, path, Options{}), KindUNet)
	unet.Claim("conv_in.weight", 3, 4, 3, 3)
	unet.Claim("conv_in.weight", 3, 4, 3, 3)
	unet.Claim("conv_in.bias", 2)
	unet.Claim("conv_norm_out.weight", 2)
	for i := range 15 {
		unet.Claim(fmt.Sprintf("mid_block.%d", i), i)
	}
	err := unet.Err()
	load, ok := errors.AsType[*LoadError](err)
	if !ok {
		t.Fatalf("error %v", err)
	}
	if len(load.Missing) != 15 || len(load.Mismatched) != 2 || len(load.Unclaimed) != 1 {
		t.Errorf("missing %d, mismatched %d, unclaimed %d; want 15, 2, 1", len(load.Missing), len(load.Mismatched), len(load.Unclaimed))
	}
	for _, want := range []string{path, "15 tensors missing", "conv_in.weight: have F32[2 4 3 3], want [3 4 3 3]", "conv_in.bias: have I32[2], want floats [2]", "unknown: conv_out.extra [1]", "and 5 more"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q:\n%v", want, err)
		}
	}
	if _, err := unet.ParamData("nowhere"); err == nil || !strings.Contains(err.Error(), `"nowhere"`) {
		t.Errorf("unknown parameter: %v", err)
	}
	if _, err := unet.ParamType("conv_in.bias"); err == nil || !strings.Contains(err.Error(), "I32") {
		t.Errorf("integer parameter: %v", err)
	}
}

// TestFullSize claims all of Stable Diffusion 1.5 from a file that has the right header and nothing but zeros.
func TestFullSize(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a file system where a file of 2 GB of zeros takes no room")
	}
	rows := readSD15(t)
	header, end := map[string]any{}, 0
	for _, row := range rows {
		size := 2 * row.ldmShape.Elements()
		header[row.ldm] = map[string]any{"dtype": "F16", "shape": row.ldmShape, "data_offsets": [2]int{end, end + size}}
		end += size
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	path := writeRaw(t, rawFile(string(text), 0))
	if err := os.Truncate(path, int64(8+len(text)+end)); err != nil {
		t.Fatal(err)
	}
	c := mustOpen(t, path, Options{})
	for _, row := range rows {
		component(t, c, row.kind).Claim(row.name, row.shape...)
	}
	bytes := int64(0)
	for _, kind := range Kinds {
		if err := component(t, c, kind).Err(); err != nil {
			t.Error(err)
		}
		bytes += component(t, c, kind).Bytes()
	}
	if bytes != 2*1_066_235_307 {
		t.Errorf("%d bytes of parameters", bytes)
	}
}

func TestStoredTypes(t *testing.T) {
	for _, tt := range []struct {
		dtype DType
		data  []byte
		want  compute.DType
		float float32
	}{
		{F64, binary.LittleEndian.AppendUint64(nil, math.Float64bits(1.5)), compute.F32, 1.5},
		{F32, binary.LittleEndian.AppendUint32(nil, math.Float32bits(1.5)), compute.F32, 1.5},
		{F16, []byte{0, 0x3E}, compute.F16, 1.5},
		{BF16, []byte{0xC0, 0x3F}, compute.BF16, 1.5},
	} {
		unet := component(t, mustOpen(t, writeTensors(t, []Tensor{{"conv_in.bias", tt.dtype, compute.Shape{1}, tt.data}}, nil), Options{}), KindUNet)
		checkParam(t, unet, string(tt.dtype), tt.want, tt.float)
	}
	for dtype, b := range map[string]byte{"F8_E4M3": 0x3C, "F8_E5M2": 0x3E} {
		path := writeRaw(t, append(rawFile("{"+entryJSON("conv_in.bias", dtype, "[1]", 0, 1)+"}", 0), b))
		checkParam(t, component(t, mustOpen(t, path, Options{}), KindUNet), dtype, compute.F16, 1.5)
	}
}

func checkParam(t *testing.T, c *Component, stored string, want compute.DType, value float32) {
	t.Helper()
	typ, err := c.ParamType("conv_in.bias")
	if err != nil || typ.DType != want {
		t.Fatalf("%s: have %v (%v), want %s", stored, typ, err, want)
	}
	data, err := c.ParamData("conv_in.bias")
	if err != nil {
		t.Fatal(err)
	}
	if got := DType(typ.DType.String()).float32s(data); len(got) != 1 || got[0] != value {
		t.Errorf("%s: have %v, want %v", stored, got, value)
	}
}
