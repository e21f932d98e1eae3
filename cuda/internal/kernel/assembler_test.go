package kernel

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// fullSize are kernels with the tiles that networks of full size want.
func fullSize() (kernels []*ptx.Kernel) {
	for _, t := range types {
		kernels = append(kernels, Activate{compute.GELU, t, t}.Kernel(), LinearCombination{4, t}.Kernel(), Add{t}.Kernel(), LayerNorm{t}.Kernel(), GEGLU{8, t}.Kernel())
		for _, g := range []GroupNorm{{1, 10, 8, compute.SiLU, t}, {2, 30, 8, compute.SiLU, t}} {
			kernels = append(kernels, g.Statistics(), g.Kernel())
		}
	}
	kernels = append(kernels, PlainConv2D{Plain{64, 64}, Conv2D{Epilogue: everything, Parts: 2, Window: [2]int{3, 3}, Stride: 1, Top: 1, Left: 1, Enlargement: Resized}, false, compute.F32, compute.F32, compute.F32, 4}.Kernel())
	kernels = append(kernels, gradientKernels()...)
	for _, head := range []int{40, 64, 80, 160, 512} {
		flash, _ := FlashFor(head, 4096, head == 64)
		kernels = append(kernels, flash.Kernel())
		if gradient, ok := FlashGradientFor(head, 4096, head == 64); ok {
			kernels = append(kernels, gradient.Queries(), gradient.Keys())
		}
	}
	for _, tile := range []Tile{
		{Rows: 128, Columns: 128, Depth: 32, WarpRows: 64, WarpColumns: 64, Stages: 4},
		{Rows: 128, Columns: 128, Depth: 32, WarpRows: 64, WarpColumns: 32, Stages: 3},
		{Rows: 128, Columns: 64, Depth: 32, WarpRows: 64, WarpColumns: 32, Stages: 4},
		{Rows: 64, Columns: 64, Depth: 64, WarpRows: 32, WarpColumns: 32, Stages: 3},
	} {
		kernels = append(kernels, Linear{Tile: tile, Epilogue: everything}.Kernel())
		kernels = append(kernels, Conv2D{Tile: tile, Epilogue: everything, Parts: 2, Window: [2]int{3, 3}, Stride: 1, Top: 1, Left: 1, Enlargement: Twice}.Kernel())
		kernels = append(kernels, Linear{Tile: tile, TransposedW: true}.Kernel(), Linear{Tile: tile, Split: true, TransposedX: true, TransposedW: true}.Kernel())
		for _, e := range []Enlargement{AsIs, Spread} {
			kernels = append(kernels, Conv2D{Tile: tile, Epilogue: Epilogue{Residual: true}, Parts: 1, Window: [2]int{3, 3}, Stride: 1, Top: 1, Left: 1, Enlargement: e, Backward: true}.Kernel())
		}
		if tile.WarpColumns == 32 {
			kernels = append(kernels, Linear{Tile: tile, Epilogue: Epilogue{Bias: true}, Promoted: true}.Kernel())
		}
	}
	return kernels
}

// gradientKernels are those that only training has, and small ones.
func gradientKernels() (kernels []*ptx.Kernel) {
	window := Conv2D{Parts: 2, Window: [2]int{3, 3}, Stride: 2, Top: 1, Left: 1, Enlargement: Resized}
	for _, t := range types {
		norm := GroupNormGradient{GroupNorm{2, 30, 8, compute.SiLU, t}, true}
		attention := PlainAttentionGradient{PlainAttention{160, true, t}}
		kernels = append(kernels, norm.Means(), attention.Queries(), attention.Keys(), MergeTokens{t}.Match())
		for _, w := range []writer{
			norm, LayerNormGradient{t, true}, ActivateGradient{compute.GELU, t}, GEGLUGradient{GEGLU{8, t}}, SumPositions{t, compute.F32},
			PlainConv2DGradient{Plain{64, 64}, window, true, t, t, t, 4}, PlainConv2DWeights{Plain{64, 64}, window, t, t, compute.F32, 4},
			PlainMatrix{Plain{64, 64}, everything, t, t, compute.F32, 2}, PlainAttention{160, false, t}, Finish{everything, t, 4, false}, Finish{everything, t, 4, true},
			Shrink{t, true}, MergeTokens{t}, Embed{t, t, true}, Move{t, compute.F32}, Scale{t}, Fill{t}, GuidanceCombine{2, t}, Rescale{t},
		} {
			kernels = append(kernels, w.Kernel())
		}
	}
	loss := Loss{compute.Huber, true, true}
	return append(kernels, loss.Kernel(), loss.Gradient(), ClipNorm{}.Measure(), ClipNorm{}.Kernel(), AdamW{true}.Kernel(), CheckIDs(),
		TimestepEmbedding{true}.Kernel(), MergeTokens{}.Rank(), MergeTokens{}.Rows())
}

var spills = regexp.MustCompile(`[1-9]\d* bytes spill`)

// TestAssembler has NVIDIA's ptxas, named by ATELIER_PTXAS, assemble the kernels for each generation of cards. No register may be spilled.
// It needs no card; the Python package nvidia-cuda-nvcc-cu12 has it.
func TestAssembler(t *testing.T) {
	ptxas := os.Getenv("ATELIER_PTXAS")
	if ptxas == "" {
		t.Skip("ATELIER_PTXAS does not name a ptxas")
	}
	for _, k := range fullSize() {
		t.Run(k.Name(), func(t *testing.T) { assemble(t, ptxas, k) })
	}
}

func assemble(t *testing.T, ptxas string, k *ptx.Kernel) {
	path := filepath.Join(t.TempDir(), "kernel.ptx")
	if err := os.WriteFile(path, []byte(k.Text()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"sm_80", "sm_86", "sm_89", "sm_90", "sm_120"} {
		report, err := exec.Command(ptxas, "-v", "-arch="+target, "-o", os.DevNull, path).CombinedOutput()
		if err != nil || spills.Match(report) {
			t.Errorf("%s: %v\n%s", target, err, report)
		}
		if target == "sm_86" {
			t.Logf("%s", regexp.MustCompile(`Used \d+ registers`).Find(report))
		}
	}
}
