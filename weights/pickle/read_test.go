package pickle_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/weights"
	"github.com/atelier-go/atelier/weights/pickle"
)

// The files of testdata were written by PyTorch 2.0.1 and 2.15.0, beside them safetensors files with the same tensors, made
// contiguous by PyTorch: every element type, views of all kinds, a parameter, one with an attribute, a training with
// optimizer and callbacks, and a textual inversion.

func read(t *testing.T, path string) any {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	v, err := pickle.Read(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestGoldens(t *testing.T) {
	for _, c := range []struct {
		file, want, state string
		without           string // a tensor that the old format does not have
	}{
		{"torch2.0.pt", "torch2.0", "", ""},
		{"torch2.0-legacy.pt", "torch2.0", "", ""},
		{"torch2.0-protocol4.pt", "torch2.0", "", ""},
		{"torch2.0-protocol5.pt", "torch2.0", "", ""},
		{"torch2.0-training.ckpt", "torch2.0-training", "state_dict", ""},
		{"torch2.15.pt", "torch2.15", "", ""},
		{"torch2.15-legacy.pt", "torch2.15", "", "f8"},
		{"torch2.15-protocol4.pt", "torch2.15", "", ""},
		{"torch2.15-protocol5.pt", "torch2.15", "", ""},
		{"torch2.15-training.ckpt", "torch2.15-training", "state_dict", ""},
	} {
		t.Run(c.file, func(t *testing.T) {
			want, err := weights.OpenFile(filepath.Join("testdata", c.want+".safetensors"))
			if err != nil {
				t.Fatal(err)
			}
			defer want.Close()
			d, _ := read(t, filepath.Join("testdata", c.file)).(*pickle.Dict)
			if c.state != "" {
				d, _ = d.Get(c.state).(*pickle.Dict)
			}
			for _, name := range want.Names() {
				if name == c.without {
					continue
				}
				golden, err := want.Tensor(name)
				if err != nil {
					t.Fatal(err)
				}
				compare(t, d, golden)
			}
			if n := len(d.Keys); n < len(want.Names())-1 {
				t.Errorf("%d tensors", n)
			}
		})
	}
}

func compare(t *testing.T, d *pickle.Dict, want weights.Tensor) {
	t.Helper()
	got, ok := d.Get(want.Name).(*pickle.Tensor)
	if !ok {
		t.Errorf("%s is a %T", want.Name, d.Get(want.Name))
		return
	}
	if got.DType != string(want.DType) || !slices.Equal(got.Shape, want.Shape) {
		t.Errorf("%s is %s%v, want %s%v", want.Name, got.DType, got.Shape, want.DType, want.Shape)
		return
	}
	data, err := io.ReadAll(got.Open())
	if err != nil || !bytes.Equal(data, want.Data) {
		t.Errorf("%s: %v, bytes %x, want %x", want.Name, err, data, want.Data)
	}
}

func TestTrainingsExtras(t *testing.T) {
	d := read(t, "testdata/torch2.15-training.ckpt").(*pickle.Dict)
	if d.Get("global_step") != int64(470000) || d.Get("pytorch-lightning_version") != "1.4.2" {
		t.Errorf("global_step %v, version %v", d.Get("global_step"), d.Get("pytorch-lightning_version"))
	}
	if o, ok := d.Get("instance").(*pickle.Object); !ok || o.Class != "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint" {
		t.Errorf("instance is %#v", d.Get("instance"))
	}
	space, _ := d.Get("hyper_parameters").(*pickle.Object)
	state, _ := space.State.(*pickle.Dict)
	if space.Class != "argparse.Namespace" || state.Get("rate") != 1e-4 || state.Get("kind") != pickle.Name("torch.float16") {
		t.Errorf("hyper_parameters are %#v", space)
	}
}

func TestEmbedding(t *testing.T) {
	for _, file := range []string{"testdata/torch2.0-embedding.pt", "testdata/torch2.15-embedding.pt"} {
		d := read(t, file).(*pickle.Dict)
		param, ok := d.Get("string_to_param").(*pickle.Object)
		if !ok || param.Class != "torch.nn.modules.container.ParameterDict" || d.Get("name") != "person" {
			t.Errorf("%s: string_to_param is %#v, name %v", file, d.Get("string_to_param"), d.Get("name"))
		}
	}
}

// TestRefused asks for names in every way there is.
func TestRefused(t *testing.T) {
	for _, c := range []struct{ name, pickle, want string }{
		{"GLOBAL", "\x80\x02cposix\nsystem\nX\x02\x00\x00\x00id\x85R.", "posix.system"},
		{"never called", "\x80\x02}X\x01\x00\x00\x00acbuiltins\neval\ns.", "builtins.eval"},
		{"Python 2", "\x80\x02c__builtin__\nexec\n.", "__builtin__.exec"},
		{"STACK_GLOBAL", "\x80\x04\x8c\x0asubprocess\x8c\x05Popen\x93.", "subprocess.Popen"},
		{"INST", "\x80\x02(X\x02\x00\x00\x00idios\nsystem\n.", "os.system"},
		{"member of a member", "\x80\x04\x8c\x05torch\x8c\x10_utils.os.system\x93.", "torch._utils.os.system"},
		{"near name", "\x80\x02ctorch._utils\n_rebuild_tensor_v2x\n.", "torch._utils._rebuild_tensor_v2x"},
		{"torch.load in torch.load", "\x80\x02ctorch.storage\n_load_from_bytes\n.", "torch.storage._load_from_bytes"},
		{"whole model", "\x80\x02c__main__\nNet\n.", "__main__.Net"},
		{"getattr", "\x80\x02cbuiltins\ngetattr\n.", "builtins.getattr"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for form, file := range map[string][]byte{"archive": archived(t, c.pickle), "stream": []byte(c.pickle)} {
				_, err := pickle.Read(bytes.NewReader(file), int64(len(file)))
				refused, ok := errors.AsType[*pickle.RefusedError](err)
				if !ok || refused.Name != c.want || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), ".safetensors") {
					t.Errorf("%s: %v, want %s refused", form, err, c.want)
				}
			}
		})
	}
}

// archived packs a pickle and arrays as torch.save does: names and contents alternate.
func archived(t testing.TB, pickle string, records ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	records = append([]string{"data.pkl", pickle}, records...)
	for i := 0; i < len(records); i += 2 {
		f, err := w.CreateHeader(&zip.FileHeader{Name: "archive/" + records[i], Method: zip.Store})
		if err == nil {
			_, err = io.WriteString(f, records[i+1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tensor is the pickle of a tensor: an array of four float32 seen with an offset, one size and one stride, each below 256.
func tensor(elements, offset, size, stride string) string {
	return "\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" +
		elements + "tQ" + offset + size + "\x85" + stride + "\x85\x89ccollections\nOrderedDict\n)RtR."
}

func TestBounds(t *testing.T) {
	const four = "K\x04"
	data := strings.Repeat("\x00\x00\x80\x3f", 4)
	long := func(n int64) string { return "\x8a\x08" + string(binary.LittleEndian.AppendUint64(nil, uint64(n))) }
	for _, c := range []struct{ name, pickle, array, want string }{
		{"whole", tensor(four, "K\x00", four, "K\x01"), data, ""},
		{"repeated", tensor(four, "K\x00", "M\x00\x80", "K\x00"), data, ""},
		{"beyond the end", tensor(four, "K\x01", four, "K\x01"), data, "ends at byte 20"},
		{"stride beyond the end", tensor(four, "K\x00", four, "K\x02"), data, "ends at byte 28"},
		{"bomb of strides", tensor(four, "K\x00", long(1<<50), "K\x00"), data, "repeated out of"},
		{"overflowing size", tensor(four, "K\x00", long(1<<62), long(1<<62)), data, "more elements than any file"},
		{"negative stride", tensor(four, "K\x00", four, long(-1)), data, "no natural number"},
		{"negative offset", tensor(four, long(-1), four, "K\x01"), data, "place in its storage"},
		{"far offset", tensor(four, long(1<<62), four, "K\x01"), data, "ends at byte"},
		{"short array", tensor(four, "K\x00", four, "K\x01"), data[1:], "15 bytes of 16"},
		{"huge array", tensor(long(1<<60), "K\x00", four, "K\x01"), data, "elements"},
		{"missing array", tensor(four, "K\x00", four, "K\x01"), "", "not in it"},
		{"no value", "\x80\x02.", data, "lacks its values"},
		{"no mark", "\x80\x02K\x01t.", data, "lacks its mark"},
		{"memo", "\x80\x02h\x07.", data, "not noted"},
		{"odd pairs", "\x80\x02}(K\x01u.", data, "key without a value"},
		{"long claim", "\x80\x02X\xff\xff\xff\x7f", data, "longer than"},
		{"truncated text", "\x80\x02X\xff\xff\x0f\x00abc", data, "truncated"},
		{"opcode", "\x80\x02\xff.", data, "0xff"},
		{"endless", strings.Repeat("N0", 3<<20), data, "opcodes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			records := []string{"data/0", c.array}
			if c.array == "" {
				records = nil
			}
			file := archived(t, c.pickle, records...)
			v, err := pickle.Read(bytes.NewReader(file), int64(len(file)))
			if c.want != "" {
				if _, ok := errors.AsType[*pickle.FormatError](err); !ok || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(v.(*pickle.Tensor).Open()); err != nil || len(b)%4 != 0 || !bytes.Equal(b[:4], []byte(data[:4])) {
				t.Errorf("%d bytes, %v", len(b), err)
			}
		})
	}
}

func TestContainers(t *testing.T) {
	whole, err := os.ReadFile("testdata/torch2.15.pt")
	if err != nil {
		t.Fatal(err)
	}
	legacy, err := os.ReadFile("testdata/torch2.15-legacy.pt")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, want string
		file       []byte
	}{
		{"truncated archive", "truncated", whole[:len(whole)-30]},
		{"truncated stream", "truncated", legacy[:len(legacy)-3]},
		{"truncated pickle", "truncated", legacy[:200]},
		{"plain pickle", "not one of torch.save", []byte("\x80\x03}.")},
		{"plain archive", "without data.pkl", bytes.ReplaceAll(whole, []byte("data.pkl"), []byte("date.pkl"))},
		{"TorchScript", "TorchScript", archived(t, "\x80\x02}.", "constants.pkl", "")},
		{"big-endian", "big-endian", archived(t, "\x80\x02}.", "byteorder", "big")},
		{"empty", "truncated", nil},
	} {
		_, err := pickle.Read(bytes.NewReader(c.file), int64(len(c.file)))
		if _, ok := errors.AsType[*pickle.FormatError](err); !ok || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// TestCompressed reads an archive that somebody packed anew.
func TestCompressed(t *testing.T) {
	whole, err := os.ReadFile("testdata/torch2.15.pt")
	if err != nil {
		t.Fatal(err)
	}
	from, err := zip.NewReader(bytes.NewReader(whole), int64(len(whole)))
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	to := zip.NewWriter(&packed)
	for _, f := range from.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		w, err := to.Create(f.Name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	v, err := pickle.Read(bytes.NewReader(packed.Bytes()), int64(packed.Len()))
	if err != nil {
		t.Fatal(err)
	}
	want, err := weights.OpenFile("testdata/torch2.15.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	for _, name := range want.Names() {
		golden, err := want.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, v.(*pickle.Dict), golden)
	}
}

func FuzzRead(f *testing.F) {
	files, err := filepath.Glob("testdata/*.[pc]*t")
	if err != nil || len(files) < 10 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("\x80\x02]q\x00h\x00a."))
	f.Add(archived(f, tensor("K\x04", "K\x00", "K\x02", "K\x02"), "data/0", "0123456789abcdef"))
	f.Fuzz(func(t *testing.T, b []byte) {
		readAll(t, b)
	})
}

// readAll reads a file and the tensors of its dictionary, if it is one.
func readAll(t *testing.T, file []byte) {
	v, err := pickle.Read(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return
	}
	d, ok := v.(*pickle.Dict)
	if !ok {
		d = &pickle.Dict{Values: []any{v}}
	}
	for _, v := range d.Values {
		if x, ok := v.(*pickle.Tensor); ok {
			if n := x.Open().Size(); n != x.Bytes() || n > int64(max(len(file), 1<<20)) {
				t.Errorf("%d bytes of %d in a file of %d", n, x.Bytes(), len(file))
			}
			io.Copy(io.Discard, x.Open())
		}
	}
}

// FuzzOpcodes puts the pickle alone at the mercy of the fuzzer, in a sound archive.
func FuzzOpcodes(f *testing.F) {
	f.Add(tensor("K\x04", "K\x00", "K\x02", "K\x02"))
	f.Add("\x80\x02ccollections\nOrderedDict\n)R(X\x01\x00\x00\x00aK\x01X\x01\x00\x00\x00bG????????ue.")
	f.Add("\x80\x04\x95\x0a\x00\x00\x00\x00\x00\x00\x00\x8c\x05numpy\x8c\x05dtype\x93\x8f\x91\x81\x8a\x02\xff\xff\x94.")
	f.Fuzz(func(t *testing.T, opcodes string) {
		readAll(t, archived(t, opcodes, "data/0", "0123456789abcdef"))
	})
}
