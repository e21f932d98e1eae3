package weights

import (
	"bufio"
	"compress/gzip"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
)

// sd15Tensor is a row of testdata/sd15-tensors.tsv.gz: the published list of Stable Diffusion 1.5's tensors in
// both namings.
type sd15Tensor struct {
	kind            Kind
	name, ldm       string // ldm with its prefix
	shape, ldmShape compute.Shape
}

func readSD15(t testing.TB) []sd15Tensor {
	t.Helper()
	f, err := os.Open("testdata/sd15-tensors.tsv.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var rows []sd15Tensor
	for lines := bufio.NewScanner(z); lines.Scan(); {
		c := strings.Split(lines.Text(), "\t")
		switch kind := Kind(c[0]); kind {
		case KindUNet, KindVAE, KindTextEncoder:
			rows = append(rows, sd15Tensor{kind, c[1], c[3], parseShape(t, c[2]), parseShape(t, c[4])})
		}
	}
	if len(rows) != 1130 {
		t.Fatalf("%d rows, want 1130", len(rows))
	}
	return rows
}

func parseShape(t testing.TB, s string) compute.Shape {
	t.Helper()
	var shape compute.Shape
	for d := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(d)
		if err != nil {
			t.Fatal(err)
		}
		shape = append(shape, n)
	}
	return shape
}

func TestNamesBothWays(t *testing.T) {
	for _, row := range readSD15(t) {
		ldm := strings.TrimPrefix(row.ldm, row.kind.LDMPrefix())
		if got := row.kind.Diffusers(ldm); got != row.name {
			t.Errorf("%s: Diffusers(%q) = %q, want %q", row.kind, ldm, got, row.name)
		}
		if got := row.kind.LDM(row.name); got != ldm {
			t.Errorf("%s: LDM(%q) = %q, want %q", row.kind, row.name, got, ldm)
		}
		if got := row.kind.Diffusers(row.name); got != row.name {
			t.Errorf("%s: Diffusers(%q) = %q: current names must stay", row.kind, row.name, got)
		}
		if kind, name, ok := place(row.ldm); kind != row.kind || name != row.name || !ok {
			t.Errorf("place(%q) = %s %q %v", row.ldm, kind, name, ok)
		}
		module, ldmModule := strings.TrimSuffix(row.name, ".weight"), strings.TrimSuffix(ldm, ".weight")
		if got := row.kind.Diffusers(ldmModule); got != module {
			t.Errorf("%s: module %q = %q, want %q", row.kind, ldmModule, got, module)
		}
	}
}

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		kind       Kind
		from, want string
	}{
		{KindUNet, "input_blocks.10.0.in_layers.0.weight", "down_blocks.3.resnets.0.norm1.weight"},
		{KindUNet, "input_blocks.1.0.in_layers.0.weight", "down_blocks.0.resnets.0.norm1.weight"},
		{KindUNet, "input_blocks.12.0.in_layers.0.weight", "input_blocks.12.0.in_layers.0.weight"},
		{KindUNet, "input_blocks.1.00.in_layers.0.weight", "input_blocks.1.00.in_layers.0.weight"},
		{KindUNet, "output_blocks.5.2.conv.bias", "up_blocks.1.upsamplers.0.conv.bias"},
		{KindUNet, "output_blocks.5.1.conv.bias", "up_blocks.1.attentions.2.conv.bias"},
		{KindUNet, "time_embed.1.weight", "time_embed.1.weight"},
		{KindUNet, "", ""},
		{KindUNet, ".", "."},
		{KindVAE, "decoder.up.0.block.2.nin_shortcut.weight", "decoder.up_blocks.3.resnets.2.conv_shortcut.weight"},
		{KindVAE, "decoder.mid_block.attentions.0.query.weight", "decoder.mid_block.attentions.0.to_q.weight"},
		{KindVAE, "decoder.mid_block.attentions.0.key.bias", "decoder.mid_block.attentions.0.to_k.bias"},
		{KindVAE, "encoder.mid_block.attentions.0.value.bias", "encoder.mid_block.attentions.0.to_v.bias"},
		{KindVAE, "encoder.mid_block.attentions.0.proj_attn.weight", "encoder.mid_block.attentions.0.to_out.0.weight"},
		{KindVAE, "encoder.mid_block.attentions.0.group_norm.weight", "encoder.mid_block.attentions.0.group_norm.weight"},
		{KindTextEncoder, "embeddings.token_embedding.weight", "text_model.embeddings.token_embedding.weight"},
		{KindTextEncoder, "final_layer_norm.bias", "text_model.final_layer_norm.bias"},
		{KindTextEncoder, "encoder.layers.0.mlp.fc1.bias", "text_model.encoder.layers.0.mlp.fc1.bias"},
	} {
		if got := tt.kind.Diffusers(tt.from); got != tt.want {
			t.Errorf("%s: Diffusers(%q) = %q, want %q", tt.kind, tt.from, got, tt.want)
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"model.diffusion_model.input_blocks.1.0.in_layers.0.weight", "decoder.up.0.block.2.nin_shortcut.weight", "encoder.layers.0.x", "a..b", "."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, key string) {
		kind, name, ok := place(key)
		if !ok {
			if name != key {
				t.Fatalf("place(%q) changed an unknown name to %q", key, name)
			}
			return
		}
		if again := kind.Diffusers(name); again != name && kind != KindVAE {
			t.Fatalf("%s: %q → %q → %q: translating twice changes the name", kind, key, name, again)
		}
		kind.LDM(name)
	})
}
