package lora_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/internal/loratest"
)

// adaptersVariable names a folder with more adapters and what the programs that define them make of the model.
const adaptersVariable = "ATELIER_ADAPTERS"

// TestAdapter applies adapters of every kind to the tiny model and wants the outputs that the programs which define them give:
// LyCORIS' and PEFT's own modules, attached at strength 1.
func TestAdapter(t *testing.T) {
	k := golden.Kit{Name: "tiny-random", Model: os.DirFS(filepath.Join(loratest.TinyRandom(t), "model"))}
	model := loratest.OpenModel(t, k)
	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	for _, dir := range append([]string{filepath.Join("testdata", "adapters")}, filepath.SplitList(os.Getenv(adaptersVariable))...) {
		files, err := filepath.Glob(filepath.Join(dir, "*.safetensors"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s has no adapters (%v)", dir, err)
		}
		in := golden.LoadFile(t, filepath.Join(dir, "input.safetensors"))
		for _, file := range files {
			name, ok := strings.CutSuffix(filepath.Base(file), ".safetensors")
			if !ok || name == "input" || strings.HasSuffix(name, ".out") {
				continue
			}
			t.Run(name, func(t *testing.T) {
				a := open(t, file, model.Targets)
				if len(a.Unmatched)+len(a.Ignored) > 0 {
					t.Errorf("unmatched %q, ignored %q", a.Unmatched, a.Ignored)
				}
				out := strings.TrimSuffix(file, ".safetensors") + ".out.safetensors"
				if _, err := os.Stat(out); err != nil {
					t.Skip("there are no outputs to compare with: ", err)
				}
				want := golden.LoadFile(t, out)
				text, noise := model.Run(t, dev, in, lora.MergeOptions{Type: compute.F32}, at(a, 1))
				worst := max(golden.Check(t, "text", text, want.Tensor(t, name+".text")), golden.Check(t, "unet", noise, want.Tensor(t, name+".unet")))
				if worst > 1e-5 {
					t.Errorf("worst relative error: %.2g", worst)
				}
			})
		}
	}
}
