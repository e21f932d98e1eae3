package weights

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sampler"
)

const (
	tinyFolder = "../testdata/tiny-random/model"
	tinySingle = "../testdata/tiny-random/tiny-random-ldm.safetensors"
)

func mustOpen(t testing.TB, path string, opts Options) *Checkpoint {
	t.Helper()
	c, err := Open(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func component(t testing.TB, c *Checkpoint, kind Kind) *Component {
	t.Helper()
	component, err := c.Component(kind)
	if err != nil {
		t.Fatal(err)
	}
	return component
}

// assertSame compares the names, types and bytes of two components.
func assertSame(t *testing.T, got, want *Component) {
	t.Helper()
	if !slices.Equal(got.Names(), want.Names()) {
		t.Fatalf("%s: %d names, want %d; first difference %q", want.kind, len(got.Names()), len(want.Names()), firstDifference(got.Names(), want.Names()))
	}
	for _, name := range want.Names() {
		gotType, err := got.ParamType(name)
		if err != nil {
			t.Fatal(err)
		}
		wantType, _ := want.ParamType(name)
		gotData, err := got.ParamData(name)
		if err != nil {
			t.Fatal(err)
		}
		wantData, _ := want.ParamData(name)
		if !gotType.Equal(wantType) || !bytes.Equal(gotData, wantData) {
			t.Fatalf("%s %s: %v, want %v; bytes equal: %v", want.kind, name, gotType, wantType, bytes.Equal(gotData, wantData))
		}
	}
}

func firstDifference(a, b []string) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return a[i] + " / " + b[i]
		}
	}
	return ""
}

// tensorsOf lists a component's tensors under the keys that rename makes; "" leaves one out.
func tensorsOf(t testing.TB, c *Component, rename func(name string) string) []Tensor {
	t.Helper()
	var list []Tensor
	for _, name := range c.Names() {
		typ, err := c.ParamType(name)
		if err != nil {
			t.Fatal(err)
		}
		data, err := c.ParamData(name)
		if err != nil {
			t.Fatal(err)
		}
		if key := rename(name); key != "" {
			list = append(list, Tensor{key, DType(typ.DType.String()), typ.Shape, data})
		}
	}
	return list
}

func writeTensors(t testing.TB, tensors []Tensor, metadata map[string]string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := Write(path, tensors, metadata); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLayoutsAgree(t *testing.T) {
	folder, single := mustOpen(t, tinyFolder, Options{}), mustOpen(t, tinySingle, Options{})
	embedded, err := OpenFS(os.DirFS(tinyFolder), "tiny", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer embedded.Close()
	total := 0
	for _, kind := range Kinds {
		want := component(t, folder, kind)
		assertSame(t, component(t, single, kind), want)
		assertSame(t, component(t, embedded, kind), want)
		if want.Config() == nil || component(t, single, kind).Config() != nil {
			t.Errorf("%s: configuration of folder %t, of single file %t", kind, want.Config() != nil, component(t, single, kind).Config() != nil)
		}
		total += len(want.Names())
	}
	if total != 986 {
		t.Errorf("%d tensors, want 986", total)
	}
	if folder.Tokenizer() == nil || single.Tokenizer() != nil || folder.Scheduler() == nil || single.Scheduler() != nil {
		t.Error("tokenizer and scheduler belong to the folder alone")
	}
}

func TestInMemory(t *testing.T) {
	fsys := fstest.MapFS{}
	for _, kind := range Kinds {
		stem := "diffusion_pytorch_model"
		if kind == KindTextEncoder {
			stem = "model"
		}
		for _, name := range []string{"config.json", stem + ".safetensors"} {
			b, err := os.ReadFile(filepath.Join(tinyFolder, string(kind), name))
			if err != nil {
				t.Fatal(err)
			}
			fsys[string(kind)+"/"+name] = &fstest.MapFile{Data: b}
		}
	}
	c, err := OpenFS(fsys, "model", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	folder := mustOpen(t, tinyFolder, Options{})
	for _, kind := range Kinds {
		assertSame(t, component(t, c, kind), component(t, folder, kind))
	}
}

func TestConfigForSingleFile(t *testing.T) {
	c := mustOpen(t, tinySingle, Options{Config: tinyFolder})
	want := mustOpen(t, tinyFolder, Options{})
	for _, kind := range Kinds {
		if got := component(t, c, kind).Config(); !bytes.Equal(got, component(t, want, kind).Config()) {
			t.Errorf("%s: configuration differs", kind)
		}
	}
	if c.Tokenizer() == nil || !bytes.Equal(c.Scheduler(), want.Scheduler()) {
		t.Error("tokenizer or scheduler not taken")
	}
	if _, err := Open(tinySingle, Options{Config: t.TempDir()}); err == nil {
		t.Error("an empty folder passed for configurations")
	}
}

// TestNamings loads the same weights under every naming found in the wild.
func TestNamings(t *testing.T) {
	tiny := mustOpen(t, tinyFolder, Options{})
	ldm := func(kind Kind, prefix string) func(string) string {
		return func(name string) string { return prefix + kind.LDM(name) }
	}
	plain := func(prefix string) func(string) string { return func(name string) string { return prefix + name } }
	flat := func(prefix string) func(string) string {
		return func(name string) string { return prefix + strings.TrimPrefix(name, "text_model.") }
	}
	old := strings.NewReplacer(".to_q.", ".query.", ".to_k.", ".key.", ".to_v.", ".value.", ".to_out.0.", ".proj_attn.")
	for _, tt := range []struct {
		name   string
		rename map[Kind]func(string) string
	}{
		{"LDM", map[Kind]func(string) string{KindUNet: ldm(KindUNet, "model.diffusion_model."), KindVAE: ldm(KindVAE, "first_stage_model."), KindTextEncoder: plain("cond_stage_model.transformer.")}},
		{"LDM, text encoder without text_model", map[Kind]func(string) string{KindUNet: ldm(KindUNet, "model.diffusion_model."), KindTextEncoder: flat("cond_stage_model.transformer.")}},
		{"folder names joined", map[Kind]func(string) string{KindUNet: plain("unet."), KindVAE: plain("vae."), KindTextEncoder: plain("text_encoder.")}},
		{"folder names joined, transformers 5", map[Kind]func(string) string{KindUNet: plain("unet."), KindVAE: plain("vae."), KindTextEncoder: flat("text_encoder.")}},
		{"diffusers names under LDM prefixes", map[Kind]func(string) string{KindUNet: plain("model.diffusion_model."), KindVAE: plain("first_stage_model.")}},
		{"UNet only, LDM", map[Kind]func(string) string{KindUNet: ldm(KindUNet, "")}},
		{"UNet only, diffusion_model.", map[Kind]func(string) string{KindUNet: ldm(KindUNet, "diffusion_model.")}},
		{"UNet only, diffusers", map[Kind]func(string) string{KindUNet: plain("")}},
		{"VAE only, LDM", map[Kind]func(string) string{KindVAE: ldm(KindVAE, "")}},
		{"VAE only, LDM under vae.", map[Kind]func(string) string{KindVAE: ldm(KindVAE, "vae.")}},
		{"VAE only, diffusers", map[Kind]func(string) string{KindVAE: plain("")}},
		{"VAE only, old attention names", map[Kind]func(string) string{KindVAE: old.Replace}},
		{"text encoder only", map[Kind]func(string) string{KindTextEncoder: plain("")}},
		{"text encoder only, transformers 5", map[Kind]func(string) string{KindTextEncoder: flat("")}},
		{"text encoder of ComfyUI", map[Kind]func(string) string{KindTextEncoder: plain("text_encoders.clip_l.transformer.")}},
		{"text encoder, clip_l", map[Kind]func(string) string{KindTextEncoder: plain("clip_l.transformer.")}},
		{"bare everything", map[Kind]func(string) string{KindUNet: plain(""), KindVAE: plain(""), KindTextEncoder: flat("")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var tensors []Tensor
			for kind, rename := range tt.rename {
				tensors = append(tensors, tensorsOf(t, component(t, tiny, kind), rename)...)
			}
			tensors = append(tensors, Tensor{"cond_stage_model.transformer.text_model.embeddings.position_ids", I64, compute.Shape{1, 77}, make([]byte, 77*8)},
				Tensor{"betas", F64, compute.Shape{2}, make([]byte, 16)}, Tensor{"first_stage_model.loss.logvar", F32, nil, make([]byte, 4)})
			c := mustOpen(t, writeTensors(t, tensors, nil), Options{})
			for _, kind := range Kinds {
				if c.Has(kind) != (tt.rename[kind] != nil) {
					t.Fatalf("has %s: %t", kind, c.Has(kind))
				}
				if c.Has(kind) {
					assertSame(t, component(t, c, kind), component(t, tiny, kind))
				}
			}
			if got := len(c.Ignored()); got != 3 {
				t.Errorf("ignored %q, want the 3 buffers", c.Ignored())
			}
		})
	}
}

func TestEMA(t *testing.T) {
	tiny := mustOpen(t, tinyFolder, Options{})
	unet := component(t, tiny, KindUNet)
	tensors := tensorsOf(t, unet, func(name string) string { return "model.diffusion_model." + KindUNet.LDM(name) })
	averages := tensorsOf(t, unet, func(name string) string {
		return "model_ema.diffusion_model" + strings.ReplaceAll(KindUNet.LDM(name), ".", "")
	})
	for i := range averages {
		averages[i].Data = bytes.Repeat([]byte{1}, len(averages[i].Data))
	}
	if !slices.ContainsFunc(averages, func(t Tensor) bool { return t.Name == "model_ema.diffusion_modelinput_blocks00weight" }) {
		t.Fatal("the flattened name of the specification is not among the test's keys")
	}
	both := writeTensors(t, append(append([]Tensor{{"model_ema.decay", F32, nil, make([]byte, 4)}, {"model_ema.num_updates", I32, nil, make([]byte, 4)}}, tensors...), averages...), nil)

	assertSame(t, component(t, mustOpen(t, both, Options{}), KindUNet), unet)
	ema := component(t, mustOpen(t, both, Options{EMA: true}), KindUNet)
	if data, _ := ema.ParamData("mid_block.resnets.1.conv2.weight"); data[0] != 1 || data[len(data)-1] != 1 {
		t.Error("the raw weights came instead of the average")
	}
	if _, err := Open(writeTensors(t, tensors, nil), Options{EMA: true}); err == nil || !strings.Contains(err.Error(), "no EMA copy") {
		t.Errorf("error %v", err)
	}
	if _, err := Open(tinyFolder, Options{EMA: true}); err == nil || !strings.Contains(err.Error(), "Variant") {
		t.Errorf("error %v", err)
	}
}

func TestOtherParts(t *testing.T) {
	tiny := mustOpen(t, tinyFolder, Options{})
	unetOnly := writeTensors(t, tensorsOf(t, component(t, tiny, KindUNet), func(n string) string { return "model.diffusion_model." + KindUNet.LDM(n) }), nil)
	vaeOnly := writeTensors(t, tensorsOf(t, component(t, tiny, KindVAE), KindVAE.LDM), nil)

	c := mustOpen(t, unetOnly, Options{})
	for kind, option := range map[Kind]string{KindVAE: "Options.VAE", KindTextEncoder: "Options.TextEncoder"} {
		_, err := c.Component(kind)
		if missing, ok := errors.AsType[*MissingError](err); !ok || !slices.Equal(missing.Holds, []Kind{KindUNet}) || !strings.Contains(err.Error(), option) || !strings.Contains(err.Error(), unetOnly) {
			t.Errorf("%s: %v", kind, err)
		}
		if fields := invalid.Fields(err); len(fields) != 1 || fields[0].Field != option || strings.Contains(err.Error(), "(-") {
			t.Errorf("%s: fields %v of %v", kind, fields, err)
		}
	}
	if _, err := mustOpen(t, vaeOnly, Options{}).UNet(); err == nil || !strings.Contains(err.Error(), "only [vae]") {
		t.Errorf("VAE as model: %v", err)
	}

	for _, vae := range []string{vaeOnly, tinySingle, tinyFolder, filepath.Join(tinyFolder, "vae")} {
		whole := mustOpen(t, unetOnly, Options{VAE: vae, TextEncoder: tinySingle})
		for _, kind := range Kinds {
			assertSame(t, component(t, whole, kind), component(t, tiny, kind))
		}
	}
	if _, err := Open(unetOnly, Options{VAE: unetOnly}); err == nil || !strings.Contains(err.Error(), "no vae in it") {
		t.Errorf("UNet as VAE: %v", err)
	}
	if got := component(t, mustOpen(t, tinyFolder, Options{VAE: vaeOnly}), KindVAE).Path(); got != vaeOnly {
		t.Errorf("VAE taken from %s", got)
	}
}

func TestPrediction(t *testing.T) {
	marker := func(name string) Tensor { return Tensor{name, F32, compute.Shape{0}, nil} }
	for _, tt := range []struct {
		name      string
		option    sampler.Prediction
		scheduler string
		metadata  map[string]string
		tensors   []Tensor
		yaml      string
		want      Prediction
	}{
		{name: "default", want: Prediction{sampler.Epsilon, false, "default"}},
		{name: "option", option: sampler.Sample, scheduler: `{"prediction_type":"epsilon"}`, want: Prediction{sampler.Sample, false, "option"}},
		{name: "scheduler", scheduler: `{"prediction_type":"v_prediction","rescale_betas_zero_snr":true}`, metadata: map[string]string{"modelspec.prediction_type": "epsilon"},
			want: Prediction{sampler.VPrediction, true, "scheduler_config.json"}},
		{name: "scheduler silent", scheduler: `{}`, metadata: map[string]string{"modelspec.prediction_type": "v"}, want: Prediction{sampler.VPrediction, false, "metadata"}},
		{name: "metadata over marker", metadata: map[string]string{"modelspec.prediction_type": "epsilon"}, tensors: []Tensor{marker("v_pred")}, want: Prediction{sampler.Epsilon, false, "metadata"}},
		{name: "markers", tensors: []Tensor{marker("v_pred"), marker("ztsnr")}, want: Prediction{sampler.VPrediction, true, "marker tensor"}},
		{name: "YAML", yaml: "model:\n  params:\n    parameterization: \"v\"  # yes\n", want: Prediction{sampler.VPrediction, false, "YAML beside the file"}},
		{name: "YAML of epsilon", yaml: "model:\n  params:\n    parameterization: \"eps\"\n", want: Prediction{sampler.Epsilon, false, "default"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "model.safetensors")
			tensors := append([]Tensor{{"conv_in.bias", F32, compute.Shape{1}, make([]byte, 4)}}, tt.tensors...)
			if err := Write(path, tensors, tt.metadata); err != nil {
				t.Fatal(err)
			}
			if tt.yaml != "" {
				if err := os.WriteFile(filepath.Join(dir, "model.yaml"), []byte(tt.yaml), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			opts := Options{Prediction: tt.option}
			if tt.scheduler != "" {
				opts.Config = copyTiny(t)
				if err := os.WriteFile(filepath.Join(opts.Config, "scheduler", "scheduler_config.json"), []byte(tt.scheduler), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			if got := mustOpen(t, path, opts).Prediction(); got != tt.want {
				t.Errorf("have %+v, want %+v", got, tt.want)
			}
		})
	}
	if _, err := Open(tinyFolder, Options{Prediction: "w"}); err == nil || !strings.Contains(err.Error(), `"w"`) {
		t.Errorf("unknown type: %v", err)
	}
}
