//go:build vendorlibs

package cudnn

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/atelier-go/atelier/cuda/internal/library"
)

// vendor is NVIDIA's own library, from the folder that ATELIER_CUDA_LIB_DIR names. .ci/vendorlibs fetches it.
func vendor(t *testing.T) *Library {
	t.Helper()
	l, err := Open(library.Here(), 99)
	check(t, err)
	t.Logf("%s is version %s", l.Path(), l.Version())
	return l
}

// TestVendor goes as far as any version does without a card: all functions are there, and it takes the descriptions of convolutions.
func TestVendor(t *testing.T) {
	l := vendor(t)
	nine := !strings.HasPrefix(l.Version(), "8.")
	for f, address := range l.functions {
		if address == 0 && (nine || function(f) != getLastErrorString) {
			t.Errorf("there is no %s", names[f])
		}
	}
	if _, err := Open(library.Here(), l.cuda()-1); err == nil {
		t.Error("it is taken for an older driver")
	}
	handle := Handle{Library: l}
	if err, ok := errors.AsType[*Error](l.call(create, uintptr(unsafe.Pointer(&handle.handle)))); !ok || err.Status != 1 && err.Status != 1001 {
		t.Errorf("taken into use without a card: %v", err)
	}
	handle.handle = 0
	for name, c := range convolutions {
		t.Run(name, func(t *testing.T) {
			p := &Plan{handle: handle, graph: graph{Library: l}}
			p.operations(c)
			check(t, p.err)
			check(t, p.close())
			if c.plain() {
				o := &older{Library: l, convolution: c, scales: [2]float32{1, 0}}
				check(t, o.describe())
				check(t, o.close())
			}
		})
	}
	t.Run("attributes", func(t *testing.T) { readBack(t, l) })
}

// readBack asks for what an image was described by.
func readBack(t *testing.T, l *Library) {
	p := &Plan{graph: graph{Library: l}}
	image := p.image(7, float16Type, true, 2, 3, 4, 8)
	extents, strides, number, virtual := make([]int64, 4), make([]int64, 4), make([]int64, 1), make([]bool, 1)
	get(&p.graph, image, 902, int64Value, extents)
	get(&p.graph, image, 903, int64Value, strides)
	get(&p.graph, image, 906, int64Value, number)
	get(&p.graph, image, 907, booleanValue, virtual)
	check(t, p.err)
	if !slices.Equal(extents, []int64{2, 8, 3, 4}) || !slices.Equal(strides, []int64{96, 1, 32, 8}) || number[0] != 7 || !virtual[0] {
		t.Errorf("extents %v, strides %v, number %d, virtual %v", extents, strides, number[0], virtual[0])
	}
	p.make(tensor, func(d descriptor) { set(&p.graph, d, 902, dataValue, float16Type) })
	if err, ok := errors.AsType[*Error](p.err); !ok || err.Call != names[setAttribute] {
		t.Errorf("extents of the wrong type: %v", p.err)
	}
	check(t, p.close())
}

const (
	deviceProperties kind  = 38
	charValue        value = 24
)

// properties describe cards of each generation to the library, as it is told of them where programs are compiled for cards elsewhere.
var properties = map[string]string{
	"RTX 3060": generation(860, 28, 101376, 1536, 16, 2359296, 1777000, 12, 7501000, 192),
	"RTX 4060": generation(890, 24, 101376, 1536, 24, 25165824, 2460000, 8, 8501000, 128),
	"H100":     generation(900, 132, 232448, 2048, 32, 52428800, 1980000, 80, 2619000, 5120),
	"RTX 5060": generation(1200, 30, 101376, 1536, 24, 33554432, 2497000, 8, 14001000, 128),
}

func generation(version, multiprocessors, shared, threads, blocks, cache, clock, gigabytes, memoryClock, bus int) string {
	return fmt.Sprintf(`{"deviceVer":%d,"multiProcessorCount":%d,"warpSize":32,"maxSharedMemoryPerBlock":49152,"maxSharedMemoryPerBlockOptin":%d,`+
		`"reservedSharedMemoryPerBlock":1024,"maxRegistersPerSM":65536,"maxCtasPerSM":%d,"maxThreadsPerBlock":1024,"maxThreadsPerSM":%d,`+
		`"regsPerBlock":65536,"totalGlobalMem":%d,"smClockRateKHz":%d,"l2CacheSize":%d,"memoryBusWidth":%d,"smCountOrigin":0,`+
		`"oversizedSharedMemoryPerBlock":0,"maxBlockSize":[1024,1024,64],"memClockRateKHz":%d,"maxGridSize":[2147483647,65535,65535],`+
		`"supportCoopLaunch":1,"pciDeviceId":0,"isTccDriver":0,"cudaDeviceId":0,"driverVer":12090,"deviceName":"NVIDIA"}`,
		version, multiprocessors, shared, blocks, threads, gigabytes<<30, clock, cache, bus, memoryClock)
}

// shapes are convolutions of the UNet at 512×512 pixels with guidance, and of the VAE.
var shapes = map[string]Convolution{
	"320 at 64×64":             {Batch: 2, Height: 64, Width: 64, Input: 320, Output: 320, Kernel: [2]int{3, 3}, Stride: 1, Before: same, After: same},
	"320 at 64×64, stride 2":   {Batch: 2, Height: 64, Width: 64, Input: 320, Output: 320, Kernel: [2]int{3, 3}, Stride: 2, Before: same, After: same},
	"1920 to 640 at 32×32":     {Batch: 2, Height: 32, Width: 32, Input: 1920, Output: 640, Kernel: [2]int{3, 3}, Stride: 1, Before: same, After: same},
	"1280 at 8×8":              {Batch: 2, Height: 8, Width: 8, Input: 1280, Output: 1280, Kernel: [2]int{3, 3}, Stride: 1, Before: same, After: same},
	"2560 to 1280 at 8×8, 1×1": {Batch: 2, Height: 8, Width: 8, Input: 2560, Output: 1280, Kernel: [2]int{1, 1}, Stride: 1},
	"VAE, 512 at 64×64":        {Batch: 1, Height: 64, Width: 64, Input: 512, Output: 512, Kernel: [2]int{3, 3}, Stride: 1, Before: same, After: same},
}

// epilogues are what follows them, and their input gradient.
var epilogues = map[string]func(*Convolution){
	"plain":                      func(*Convolution) {},
	"bias":                       func(c *Convolution) { c.Bias = true },
	"bias, per channel":          func(c *Convolution) { c.Bias, c.PerChannel = true, c.Batch },
	"bias, residual":             func(c *Convolution) { c.Bias, c.Residual = true, true },
	"bias, SiLU":                 func(c *Convolution) { c.Bias, c.SiLU = true, true },
	"the input gradient instead": func(c *Convolution) { c.Gradient = true },
}

// workspace is what the device lets a plan have, on cards of data centres and on others.
var workspace = map[bool]int64{true: 32 << 20, false: 8 << 20}

// TestVendorPlans has the library choose engines for cards that are not there, for what the device asks of it, within its workspace.
func TestVendorPlans(t *testing.T) {
	l := vendor(t)
	if l.call(createDescriptor, uintptr(deviceProperties), uintptr(unsafe.Pointer(new(uintptr)))) != nil {
		t.Skip("the library cannot be told of cards that are not there: 9.8 can")
	}
	for _, card := range slices.Sorted(maps.Keys(properties)) {
		for _, shape := range slices.Sorted(maps.Keys(shapes)) {
			for _, epilogue := range slices.Sorted(maps.Keys(epilogues)) {
				t.Run(card+": "+shape+": "+epilogue, func(t *testing.T) {
					c := shapes[shape]
					epilogues[epilogue](&c)
					p := &Plan{graph: graph{Library: l}}
					planFor(p, c, properties[card], workspace[card == "H100"])
					check(t, p.err)
					t.Logf("%d KB of workspace", p.workspace>>10)
					check(t, p.close())
				})
			}
		}
	}
}

// planFor is what Handle.Plan does, with a card's properties in place of a handle.
func planFor(p *Plan, c Convolution, properties string, workspace int64) {
	g, text := &p.graph, append([]byte(properties), 0)
	card := p.make(deviceProperties, func(d descriptor) { set(g, d, 2702, charValue, text...) })
	operations := p.operations(c)
	whole := p.make(operationGraph, func(d descriptor) { p.setDescriptors(d, 801, operations...) })
	choice := p.make(engineChoice, func(d descriptor) {
		p.setDescriptors(d, 201, whole)
		set(g, d, 200, heuristicValue, heuristicA)
		p.setDescriptors(d, 204, card)
	})
	p.take(choice, workspace, func(plan descriptor) { p.setDescriptors(plan, 407, card) })
}
