package kernel

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// small is the tile of products with few rows or columns.
var small = TileFor(1, 1, 1)

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
	for _, tile := range append(slices.Clone(tilings), small, Tile{Rows: 128, Columns: 128, Depth: 32, WarpRows: 64, WarpColumns: 32, Stages: 3}) {
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

var (
	spills    = regexp.MustCompile(`[1-9]\d* bytes spill`)
	registers = regexp.MustCompile(`Used (\d+) registers`)
)

// ptxas has NVIDIA's assembler, named by ATELIER_PTXAS, assemble a kernel, and returns how many registers a thread has. None may be spilled.
// It needs no card; the Python package nvidia-cuda-nvcc-cu12 has it.
func ptxas(t *testing.T, k *ptx.Kernel, target string) int {
	t.Helper()
	program := os.Getenv("ATELIER_PTXAS")
	if program == "" {
		t.Skip("ATELIER_PTXAS does not name a ptxas")
	}
	path := filepath.Join(t.TempDir(), "kernel.ptx")
	if err := os.WriteFile(path, []byte(k.Text()), 0o600); err != nil {
		t.Fatal(err)
	}
	report, err := exec.Command(program, "-v", "-arch="+target, "-o", os.DevNull, path).CombinedOutput()
	used := registers.FindSubmatch(report)
	if err != nil || spills.Match(report) || used == nil {
		t.Errorf("%s, %s: %v\n%s", k.Name(), target, err, report)
		return 0
	}
	n, _ := strconv.Atoi(string(used[1]))
	return n
}

// TestAssembler assembles the kernels for each generation of cards.
func TestAssembler(t *testing.T) {
	for _, k := range fullSize() {
		t.Run(k.Name(), func(t *testing.T) {
			for _, target := range []string{"sm_80", "sm_86", "sm_89", "sm_90", "sm_120"} {
				ptxas(t, k, target)
			}
		})
	}
}

// TestOccupancy prints how many blocks of the kernels for tensor cores a multiprocessor of compute capability 8.6 holds, at least one. It has
// 65536 registers, 1536 threads and 100 KB of shared memory, of which each block takes one for itself. docs/kernels.md has the table.
func TestOccupancy(t *testing.T) {
	row := func(k *ptx.Kernel, shared int) {
		used := ptxas(t, k, "sm_86")
		blocks := min(1536/k.Threads(), 65536/(k.Threads()*((used+7)/8*8)), 100<<10/(shared+1<<10))
		if blocks < 1 {
			t.Errorf("%s: no block has room", k.Name())
		}
		t.Logf("| `%s` | %d | %d | %d | %d |", k.Name(), k.Threads(), used, shared>>10, blocks)
	}
	epilogue := Epilogue{Bias: true, Residual: true}
	for _, tile := range append(slices.Clone(tilings), small) {
		row(Linear{Tile: tile, Epilogue: epilogue}.Kernel(), tile.Shared())
		row(Conv2D{Tile: tile, Epilogue: epilogue, Parts: 1, Window: [2]int{3, 3}, Stride: 1, Top: 1, Left: 1}.Kernel(), tile.Shared())
	}
	for _, head := range []int{40, 80, 160, 512} {
		flash, _ := FlashFor(head, 4096, false)
		row(flash.Kernel(), flash.Shared())
		if gradient, ok := FlashGradientFor(head, 4096, false); ok {
			row(gradient.Queries(), gradient.Shared())
			row(gradient.Keys(), gradient.Shared())
		}
	}
}
