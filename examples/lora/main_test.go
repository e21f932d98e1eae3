package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/examples/internal/program"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/weights"
)

var (
	tiny   = filepath.Join("..", "..", "testdata", "tiny-random")
	model  = filepath.Join(tiny, "model")
	single = filepath.Join(tiny, "tiny-random-ldm.safetensors")
	kohya  = filepath.Join(tiny, "goldens", "lora_kohya.safetensors")
	locon  = filepath.Join(tiny, "goldens", "lora_locon.safetensors")
)

// do runs a command and returns what it prints.
func do(t *testing.T, args ...string) string {
	t.Helper()
	var out, log bytes.Buffer
	if err := run(t.Context(), args, &out, &log); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, log.String())
	}
	return out.String()
}

// says wants patterns in a text.
func says(t *testing.T, text string, patterns ...string) {
	t.Helper()
	for _, p := range patterns {
		if !regexp.MustCompile(p).MatchString(text) {
			t.Errorf("nothing in the output is %q:\n%s", p, text)
		}
	}
}

// adapter opens a LoRA for the tiny model.
func adapter(t *testing.T, path string) *lora.Adapter {
	t.Helper()
	targets, err := (&shapes{model}).targets(path)
	if err != nil {
		t.Fatal(err)
	}
	a, err := lora.Open(path, targets)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// values are a parameter's numbers, with LoRAs merged into it.
func values(t *testing.T, path, name string, adapters ...lora.Applied) []float32 {
	t.Helper()
	o := weights.Options{}
	if path == single || strings.HasSuffix(path, ".safetensors") {
		o.Config = model
	}
	c, err := weights.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := lora.TargetsOf(c); err != nil {
		t.Fatal(err)
	}
	unet, err := c.UNet()
	if err != nil {
		t.Fatal(err)
	}
	params, err := lora.Merge(unet, weights.KindUNet, lora.MergeOptions{}, adapters...)
	if err != nil {
		t.Fatal(err)
	}
	data, err := params.ParamData(name)
	if err != nil {
		t.Fatal(err)
	}
	return weights.Tensor{DType: weights.F16, Data: data}.Float32s()
}

const changed = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight"

func TestInspect(t *testing.T) {
	says(t, do(t, "inspect", "-model-config", model, kohya), "names +kohya", "modules +210: text_encoder \\(18\\), unet \\(192\\)", "rank +4 \\(210\\)", "alpha +2 ",
		"scale alpha/rank +0.5 ", "sshs_model_hash +[0-9a-f]{64} \\(computed; none", "base model +Stable Diffusion 1.x", "output_name personname_lora_v1")
	says(t, do(t, "inspect", "-metadata", "-model-config", model, "-model", kohya), `"ss_output_name": "personname_lora_v1"`)
	// metadata of a stranger
	path := filepath.Join(t.TempDir(), "x.safetensors")
	err := lora.Write(path, adapter(t, kohya).Modules, compute.F16, map[string]string{
		"ss_tag_frequency": `{"1_a": {"red hat": 2, "bad\u001b[31m": 1}}`, "ss_training_comment": "\x1b[2J", "ss_sd_model_name": "v1-5.safetensors", "ss_base_model_version": "sd_v1",
	})
	if err != nil {
		t.Fatal(err)
	}
	out := do(t, "inspect", "-model-config", model, path)
	says(t, out, "tags +red hat \\(2\\), bad.\\[31m \\(1\\)", "base model +sd_v1, file v1-5.safetensors", "sshs_model_hash +[0-9a-f]{64} \\(as computed\\)")
	if strings.Contains(out, "\x1b") {
		t.Error("a stranger's escape sequence reaches the terminal")
	}
}

// TestInspectHashes shows hashes of other programs: those that are the same but for the form, those of something else, and
// those of another file.
func TestInspectHashes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	write := func(stored string) string {
		if err := lora.Write(path, adapter(t, kohya).Modules, compute.F32, nil); err != nil {
			t.Fatal(err)
		}
		f, err := weights.OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var tensors []weights.Tensor
		for _, name := range f.Names() {
			x, err := f.Tensor(name)
			if err != nil {
				t.Fatal(err)
			}
			x.Data = bytes.Clone(x.Data)
			tensors = append(tensors, x)
		}
		f.Close()
		if err := weights.Write(path, tensors, map[string]string{"sshs_model_hash": stored}); err != nil {
			t.Fatal(err)
		}
		return do(t, "inspect", "-model-config", model, path)
	}
	write("")
	computed, err := lora.DataHash(path)
	if err != nil {
		t.Fatal(err)
	}
	other := strings.Repeat("5", 64)
	says(t, write("0x"+computed), "sshs_model_hash +0x"+computed+" \\(as computed\\)")
	says(t, write(strings.ToUpper(computed)), "\\(as computed\\)")
	says(t, write(other), "changed or converted after it was hashed")
	out := write("0x" + other)
	says(t, out, computed+" \\(computed; stored is 0x"+other)
	if strings.Contains(out, "changed or converted") {
		t.Errorf("a file of LyCORIS is called changed:\n%s", out)
	}
}

// TestNothing wants no success where the result is what was given.
func TestNothing(t *testing.T) {
	for _, c := range []struct {
		say  string
		args []string
	}{
		{"cancel out", []string{"combine", "-model-config", model, "-lora", kohya, "-lora", kohya, "-ratio", "-1"}},
		{"the checkpoint as it is: the changes are less", []string{"merge", "-model", single, "-model-config", model, "-lora", kohya, "-ratio", "1e-9"}},
	} {
		err := run(t.Context(), append(c.args, "-o", filepath.Join(t.TempDir(), "x.safetensors")), io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: the error is %v", c.args[0], err)
		}
	}
}

// TestCheckKinds names adapters that are of other kinds.
func TestCheckKinds(t *testing.T) {
	for end, kind := range map[string]string{"bias_indices": "sparse biases", "boft_R.style": "PEFT's BOFT", "lora_E": "AdaLoRA"} {
		path := filepath.Join(t.TempDir(), "x.safetensors")
		var tensors []weights.Tensor
		for _, part := range []string{"lora_down.weight", "lora_up.weight", end} {
			tensors = append(tensors, weights.Tensor{Name: "lora_unet_conv_in." + part, DType: weights.F32, Shape: compute.Shape{1, 1}, Data: []byte{0, 0, 0x80, 0x3f}})
		}
		if err := weights.Write(path, tensors, nil); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		err := run(t.Context(), []string{"check", path}, &out, io.Discard)
		if refused, ok := errors.AsType[*lora.KindError](err); !ok || refused.Kind != kind {
			t.Errorf("%s: the error is %v", end, err)
		}
		says(t, out.String(), "number of modules: 1\n", "kind: "+kind)
	}
}

// TestCheckParts checks adapters of the kinds that are read, whose tensors are not those of a LoRA alone.
func TestCheckParts(t *testing.T) {
	for algorithm, ends := range map[string][]string{
		"LoHa": {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}, "LoKr": {"lokr_w1", "lokr_w2"}, "OFT": {"oft_blocks"}, "DoRA": {"lora_down.weight", "lora_up.weight", "dora_scale"},
	} {
		path := filepath.Join(t.TempDir(), "x.safetensors")
		var tensors []weights.Tensor
		for _, end := range ends {
			tensors = append(tensors, weights.Tensor{Name: "lora_unet_conv_in." + end, DType: weights.F32, Shape: compute.Shape{1, 1}, Data: []byte{0, 0, 0x80, 0x3f}})
		}
		if err := weights.Write(path, tensors, nil); err != nil {
			t.Fatal(err)
		}
		out := do(t, "check", path)
		for _, end := range ends {
			if !strings.HasPrefix(end, "lora_") {
				says(t, out, "tensors called "+end+": 1\n")
			}
			if !strings.Contains(out, "."+end+`" F32`) && end != "dora_scale" {
				t.Errorf("%s: %s is not listed in\n%s", algorithm, end, out)
			}
		}
	}
}

// TestInspectOthers shows what a file is that is no LoRA, and fails.
func TestInspectOthers(t *testing.T) {
	var out bytes.Buffer
	err := run(t.Context(), []string{"inspect", single}, &out, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "checkpoint") {
		t.Errorf("a checkpoint: %v", err)
	}
	says(t, out.String(), "F16 \\(986\\)")
}

func TestCheck(t *testing.T) {
	out := do(t, "check", kohya)
	says(t, out, "number of modules: 210\n", "tensors: 420\n", `lora_down.weight" F32\[4 32\] mean 0\.\d+ min 0\.\d+`)
	if n := strings.Count(out, "\n"); n != 422 {
		t.Errorf("%d lines, want 422", n)
	}
	if n := strings.Count(do(t, "check", "-s", kohya), "\n"); n != 632 {
		t.Errorf("with all keys %d lines, want 632", n)
	}
	data := []byte{0, 0, 0xc0, 0x7f, 0, 0, 0x80, 0x3f}
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := weights.Write(path, []weights.Tensor{{Name: "a.lora_up.weight", DType: weights.F32, Shape: compute.Shape{2}, Data: data}}, nil); err != nil {
		t.Fatal(err)
	}
	var report bytes.Buffer
	err := run(t.Context(), []string{"check", path}, &report, io.Discard)
	if _, ok := errors.AsType[*lora.NonFiniteError](err); !ok {
		t.Errorf("NaN: %v", err)
	}
	says(t, report.String(), "1 of the elements are NaN")
}

// TestMerge compares merging into both forms of checkpoints with merging at loading.
func TestMerge(t *testing.T) {
	dir := t.TempDir()
	adapters := []lora.Applied{
		{Adapter: adapter(t, kohya), Strength: lora.Strength{TextEncoder: 0.6, UNet: 0.6}}, {Adapter: adapter(t, locon), Strength: lora.Strength{TextEncoder: 1, UNet: 1}},
	}
	want := values(t, single, changed, adapters...)
	file, folder := filepath.Join(dir, "merged.safetensors"), filepath.Join(dir, "merged")
	says(t, do(t, "merge", "-model", single, "-model-config", model, "-lora", kohya, "-ratio", "0.6", "-lora", locon, "-o", file), "wrote .*merged.safetensors: .*2 LoRAs")
	do(t, "merge", "-model", model, "-lora", kohya, "-ratio", "0.6", "-lora", locon, "-save_to", folder)
	for _, path := range []string{file, folder} {
		if got := values(t, path, changed); !slices.Equal(got, want) {
			t.Errorf("%s has other weights than merging at loading gives", path)
		}
	}
	f, err := weights.OpenFile(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for key, want := range map[string]string{
		"modelspec.title": "merged", "modelspec.merged_from": "tiny-random-ldm, lora_kohya, lora_locon", "modelspec.architecture": "stable-diffusion-v1", "modelspec.implementation": "sgm",
	} {
		if got := f.Metadata()[key]; got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	whole := filepath.Join(dir, "float.safetensors")
	do(t, "merge", "-model", single, "-model-config", model, "-lora", kohya, "-ratio", "0.5", "-save_precision", "float", "-o", whole)
	g, err := weights.OpenFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	for _, name := range g.Names() {
		if x, _ := g.Info(name); x.DType != weights.F32 {
			t.Fatalf("%s is %s", name, x.DType)
		}
	}
}

// changeOf is alpha/rank·B·A.
func changeOf(m lora.Module) []float64 {
	l, columns := m.Delta.(lora.LowRank), m.Shape[1:].Elements()
	out := make([]float64, m.Shape.Elements())
	for o := range m.Shape[0] {
		for k := range m.Rank() {
			for i := range columns {
				out[o*columns+i] += l.Scale() * float64(l.Up.Data[o*m.Rank()+k]) * float64(l.Down.Data[k*columns+i])
			}
		}
	}
	return out
}

// TestFiles goes all the way round: merge, extract, combine with the opposite strength, resize.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name+".safetensors") }
	do(t, "merge", "-model", single, "-model-config", model, "-lora", kohya, "-save_precision", "float", "-o", in("tuned"))
	do(t, "extract", "-model_org", single, "-model_tuned", in("tuned"), "-model-config", model, "-dim", "4", "-clamp_quantile", "1", "-min_diff", "-1", "-save_to", in("extracted"))
	do(t, "combine", "-model-config", model, "-lora", in("extracted"), "-lora", kohya, "-ratio", "-1", "-save_to", in("nothing"))
	was, left := adapter(t, kohya), adapter(t, in("nothing"))
	if len(was.Modules) != len(left.Modules) {
		t.Fatalf("%d modules left of %d", len(left.Modules), len(was.Modules))
	}
	for i, m := range left.Modules {
		largest, worst := 0.0, 0.0
		for _, v := range changeOf(was.Modules[i]) {
			largest = max(largest, math.Abs(v))
		}
		for _, v := range changeOf(m) {
			worst = max(worst, math.Abs(v))
		}
		if m.Rank() != 8 || worst > 1e-4*largest {
			t.Fatalf("%s: rank %d; %g is left of %g", m.Name, m.Rank(), worst, largest)
		}
	}
	says(t, do(t, "resize", "-model-config", model, "-model", kohya, "-new_rank", "2", "-verbose", "-save_precision", "fp16", "-save_to", in("small")),
		"attn1_to_q: rank 4 to 2, sum retained [5-9].*fro retained", "fro retained: mean [89].*standard deviation", "wrote .* 210 modules .* of rank 2")
	small := adapter(t, in("small"))
	if small.Metadata["ss_network_dim"] != "2" || small.Metadata["modelspec.title"] != "small" || !strings.HasPrefix(small.Metadata["ss_training_comment"], "dimension is resized from 4 to 2; ") {
		t.Errorf("metadata %v", small.Metadata)
	}
	do(t, "combine", "-model-config", model, "-kohya", "-lora", kohya, "-ratio", "0.5", "-save_to", in("half"))
	for i, m := range adapter(t, in("half")).Modules {
		want := changeOf(was.Modules[i])
		for j, v := range changeOf(m) {
			if math.Abs(v-0.25*want[j]) > 1e-6 {
				t.Fatalf("%s: element %d is %g, want %g", m.Name, j, v, 0.25*want[j])
			}
		}
	}
	do(t, "combine", "-model-config", model, "-lora", kohya, "-lbws", "[0,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "-save_to", in("base0"))
	for _, m := range adapter(t, in("base0")).Modules {
		zero := !slices.ContainsFunc(m.Delta.(lora.LowRank).Up.Data, func(v float32) bool { return v != 0 })
		if zero != (m.Kind == weights.KindTextEncoder) {
			t.Fatalf("%s: all zero is %t with a block weight of 0 for the text encoder", m.Name, zero)
		}
	}
	do(t, "combine", "-model-config", model, "-new_rank", "3", "-lora", kohya, "-lora", locon, "-save_to", in("svd"))
	if a := adapter(t, in("svd")); a.Modules[0].Rank() != 3 {
		t.Errorf("rank %d", a.Modules[0].Rank())
	}
}

// partial is a model without a text encoder.
func partial(t *testing.T) string {
	dir := t.TempDir()
	for _, part := range []string{"unet", "vae"} {
		if err := os.CopyFS(filepath.Join(dir, part), os.DirFS(filepath.Join(model, part))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	to := filepath.Join(dir, "out.safetensors")
	input := filepath.Join(t.TempDir(), "input.safetensors")
	data, err := os.ReadFile(kohya)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(input, data, 0o666); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(t.TempDir(), "folder.safetensors")
	if err := os.Mkdir(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, say string
		args      string // separated by |
	}{
		{"no such command", `no command "train"`, "train"},
		{"no file", "name a LoRA file", "inspect"},
		{"two files", "unexpected argument", "inspect|" + kohya + "|" + locon},
		{"file and -model", "beside -model", "check|-model|" + kohya + "|" + locon},
		{"missing file", "gone", "inspect|gone"},
		{"missing file to check", "gone", "check|gone"},
		{"nothing of a LoRA", "none of its 986 tensors", "check|" + single},
		{"no model", "-model is missing", "merge|-lora|" + kohya + "|-o|" + to},
		{"no LoRA", "-lora is missing", "merge|-model|" + model + "|-o|" + filepath.Join(dir, "out")},
		{"nothing to combine", "-lora is missing", "combine|-o|" + to},
		{"a model without text encoder", "name a checkpoint that has one", "merge|-model|" + partial(t) + "|-lora|" + kohya + "|-o|" + filepath.Join(dir, "out")},
		{"into a folder", "never written into; choose another", "merge|-model|" + model + "|-lora|" + kohya + "|-o|" + folder},
		{"no output", "-output is missing", "merge|-model|" + model + "|-lora|" + kohya},
		{"ratio first", "behind its -lora", "merge|-ratio|0.5|-lora|" + kohya},
		{"two ratios", "behind its -lora", "merge|-lora|" + kohya + "|-ratio|0.5|-ratio|1"},
		{"ratio in words", "invalid value", "merge|-lora|" + kohya + "|-ratio|half"},
		{"ratio with a comma", "such as 0.8", "combine|-model-config|" + model + "|-lora|" + kohya + "|-ratio|0,8|-o|" + to},
		{"ratio with a letter", "such as 0.8", "combine|-model-config|" + model + "|-lora|" + kohya + "|-ratio|0.8x|-o|" + to},
		{"ratio with a blank", "such as 0.8", "merge|-model|" + single + "|-model-config|" + model + "|-lora|" + kohya + "|-ratio|0 8|-o|" + to},
		{"no ratio", "such as 0.8", "merge|-model|" + single + "|-model-config|" + model + "|-lora|" + kohya + "|-ratio||-o|" + to},
		{"ratio beyond all numbers", "such as 0.8", "merge|-model|" + single + "|-model-config|" + model + "|-lora|" + kohya + "|-ratio|1e999|-o|" + to},
		{"ratio 0", "change nothing", "combine|-model-config|" + model + "|-lora|" + kohya + "|-ratio|0|-o|" + to},
		{"ratios 0 with a rank", "change nothing", "combine|-model-config|" + model + "|-new_rank|2|-lora|" + kohya + "|-ratio|0|-lora|" + locon + "|-ratio|0|-o|" + to},
		{"merge with ratio 0", "checkpoint as it is", "merge|-model|" + single + "|-model-config|" + model + "|-lora|" + kohya + "|-ratio|0|-o|" + to},
		{"resize of zeros", "change nothing", "resize|-model-config|" + model + "|-save_to|" + to + "|" + zeros(t)},
		{"merge of zeros", "checkpoint as it is", "merge|-model|" + single + "|-model-config|" + model + "|-lora|" + zeros(t) + "|-o|" + to},
		{"a model against itself", "are equal", "extract|-model_org|" + single + "|-model_tuned|" + single + "|-model-config|" + model + "|-save_to|" + to},
		{"a model against its copy", "are equal", "extract|-model_org|" + model + "|-model_tuned|" + single + "|-model-config|" + model + "|-min_diff|-1|-save_to|" + to},
		{"NaN", "strength NaN", "combine|-model-config|" + model + "|-lora|" + kohya + "|-ratio|NaN|-o|" + to},
		{"precision", "-save_precision", "merge|-model|" + model + "|-lora|" + kohya + "|-save_precision|int8|-o|" + to},
		{"no folder for it", "make it first", "combine|-lora|" + kohya + "|-o|" + filepath.Join(dir, "none", "x.safetensors")},
		{"a file of a folder", "makes a folder", "merge|-model|" + model + "|-lora|" + kohya + "|-o|" + to},
		{"a folder as output", "but a folder", "combine|-model-config|" + model + "|-lora|" + kohya + "|-o|" + folder},
		{"below a file", "make it first", "resize|-model-config|" + model + "|-o|" + filepath.Join(kohya, "x.safetensors") + "|" + kohya},
		{"other extension", "ends in .safetensors", "merge|-model|" + single + "|-lora|" + kohya + "|-o|" + filepath.Join(dir, "out.ckpt")},
		{"a LoRA as the model", "LoRA", "merge|-model|" + kohya + "|-lora|" + kohya + "|-o|" + to},
		{"a checkpoint as the LoRA", "checkpoint", "combine|-model-config|" + model + "|-lora|" + single + "|-o|" + to},
		{"another model's shapes", "do not fit", "resize|" + "-save_to|" + to + "|" + kohya},
		{"input as output", "never overwritten", "combine|-model-config|" + model + "|-lora|" + input + "|-o|" + input},
		{"input as output of resize", "never overwritten", "resize|-model-config|" + model + "|-save_to|" + input + "|" + input},
		{"model folder as output", "never overwritten", "merge|-model|" + model + "|-lora|" + kohya + "|-o|" + model},
		{"block weights first", "behind its -lora", "combine|-lbws|[1]|-lora|" + kohya},
		{"block weights", "3 numbers", "combine|-lora|" + kohya + "|-lbws|[1,2,3]"},
		{"rank", "new_rank", "resize|-model-config|" + model + "|-new_rank|-1|-save_to|" + to + "|" + kohya},
		{"method", "dynamic_method", "resize|-model-config|" + model + "|-dynamic_method|sv|-save_to|" + to + "|" + kohya},
		{"one checkpoint", "-model_org and -model_tuned", "extract|-model_org|" + single + "|-save_to|" + to},
		{"checkpoints of other shapes", "not the", "extract|-model_org|" + single + "|-model_tuned|" + single + "|-save_to|" + to},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := run(t.Context(), strings.Split(c.args, "|"), io.Discard, io.Discard)
			if err == nil || !strings.Contains(err.Error(), c.say) {
				t.Errorf("the error %v does not say %q", err, c.say)
			}
		})
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%s was left behind", left[0].Name())
	}
	if now, err := os.ReadFile(input); err != nil || !bytes.Equal(now, data) {
		t.Errorf("an input was changed (%v)", err)
	}
	if err := run(t.Context(), nil, io.Discard, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("without a command: %v", err)
	}
}

// zeros writes a LoRA as training starts with it: nothing is changed yet.
func zeros(t *testing.T) string {
	t.Helper()
	modules := adapter(t, kohya).Modules
	for i := range modules {
		clear(modules[i].Delta.(lora.LowRank).Up.Data)
	}
	path := filepath.Join(t.TempDir(), "zeros.safetensors")
	if err := lora.Write(path, modules, compute.F32, nil); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestInterrupted leaves nothing behind.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	to := filepath.Join(dir, "out.safetensors")
	for _, args := range [][]string{
		{"merge", "-model", single, "-model-config", model, "-lora", kohya, "-o", to},
		{"merge", "-model", model, "-lora", kohya, "-o", filepath.Join(dir, "out")},
		{"combine", "-model-config", model, "-lora", kohya, "-o", to},
		{"resize", "-model-config", model, "-save_to", to, kohya},
		{"extract", "-model_org", single, "-model_tuned", single, "-model-config", model, "-save_to", to},
		{"check", kohya},
	} {
		if err := run(ctx, args, io.Discard, io.Discard); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", args[0], err)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%s was left behind", left[0].Name())
	}
}

func TestHelp(t *testing.T) {
	for _, c := range commands {
		var help strings.Builder
		if err := run(t.Context(), []string{c.name, "-h"}, io.Discard, &help); !errors.Is(err, flag.ErrHelp) {
			t.Errorf("%s: %v", c.name, err)
		}
		program.Help(t, "lora "+c.name, help.String())
	}
}
