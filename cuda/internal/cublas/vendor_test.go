//go:build vendorlibs

package cublas

import (
	"errors"
	"strings"
	"testing"
	"unsafe"

	"github.com/atelier-go/atelier/cuda/internal/library"
)

// TestVendor takes NVIDIA's own library, from the folder that ATELIER_CUDA_LIB_DIR names, as far as that goes without a card: all of
// its functions are there, it takes what describes products, and it says what a driver must know. .ci/vendorlibs fetches the library.
func TestVendor(t *testing.T) {
	found, err := library.Here().Find(library.CuBLAS, 99)
	check(t, err)
	l, err := New(found)
	check(t, err)
	t.Logf("%s is version %d", l.Path(), l.Version())
	if _, err := Open(library.Here(), l.Version()/10000-1); err == nil || !strings.Contains(err.Error(), "update the driver") {
		t.Errorf("for an older driver: %v", err)
	}
	_, err = l.Handle()
	if status, ok := errors.AsType[*Error](err); !ok || status.Status != 1 {
		t.Errorf("taken into use without a card: %v", err)
	}
	for name, p := range products {
		t.Run(name, func(t *testing.T) { vendor{t, found, &Plan{Handle: Handle{Library: l}, product: p}}.describe() })
	}
}

// products are those of networks.
var products = map[string]Product{
	"Linear":         {Rows: 8192, Columns: 320, Depth: 1280, Transposed: true, Type: F16, Bias: true, Residual: true},
	"input gradient": {Rows: 2048, Columns: 640, Depth: 2560, Type: F16},
	"some channels":  {Rows: 128, Columns: 640, Depth: 1280, Pitch: 1920, Type: F16},
	"float32":        {Rows: 77, Columns: 768, Depth: 3072, Transposed: true, Type: F32, TF32: true, Bias: true},
}

// vendor is a plan by the real library, which can be described and not chosen.
type vendor struct {
	*testing.T
	symbols library.Symbols
	plan    *Plan
}

// describe describes the product and asks the library what it was told.
func (v vendor) describe() {
	p := v.plan
	check(v, p.describe())
	check(v, p.layout())
	wantCompute := int32(computeF32)
	if p.product.TF32 {
		wantCompute = computeTF32
	}
	expect(v, "cublasLtMatmulDescGetAttribute", p.description, 0, wantCompute)
	expect(v, "cublasLtMatmulDescGetAttribute", p.description, 1, int32(F32))
	expect(v, "cublasLtMatmulDescGetAttribute", p.description, transA, map[bool]int32{true: transpose}[p.product.Transposed])
	wantEpilogue := uint32(1) // the default
	if p.product.Bias {
		wantEpilogue = epilogueBias
		bias := uintptr(0x1000)
		check(v, p.call(descriptionSet, p.description, biasAddress, uintptr(unsafe.Pointer(&bias)), unsafe.Sizeof(bias)))
		expect(v, "cublasLtMatmulDescGetAttribute", p.description, biasAddress, bias)
	}
	expect(v, "cublasLtMatmulDescGetAttribute", p.description, epilogue, wantEpilogue)
	for layout, extents := range map[uintptr][2]int{p.x: {p.product.Depth, p.product.Rows}, p.y: {p.product.Columns, p.product.Rows}} {
		const dtype, rows, columns, pitch = 0, 2, 3, 4
		expect(v, "cublasLtMatrixLayoutGetAttribute", layout, dtype, p.product.Type)
		expect(v, "cublasLtMatrixLayoutGetAttribute", layout, rows, uint64(extents[0]))
		expect(v, "cublasLtMatrixLayoutGetAttribute", layout, columns, uint64(extents[1]))
		expect(v, "cublasLtMatrixLayoutGetAttribute", layout, pitch, int64(extents[0]))
	}
	value := transpose
	err, ok := errors.AsType[*Error](p.call(descriptionSet, p.description, transA, uintptr(unsafe.Pointer(&value)), 2))
	if !ok || err.Status != 7 {
		v.Errorf("an attribute of the wrong size: %v", err)
	}
	v.prefer()
	check(v, p.Close())
}

// prefer says what algorithms may need. Which there are is for a card to tell.
func (v vendor) prefer() {
	preference, err := v.plan.prefer(1 << 23)
	check(v, err)
	expect(v, "cublasLtMatmulPreferenceGetAttribute", preference, maxWorkspace, uint64(1<<23))
	for matrix := alignmentA; matrix <= alignmentD; matrix++ {
		expect(v, "cublasLtMatmulPreferenceGetAttribute", preference, uintptr(matrix), alignment)
	}
	check(v, v.plan.call(preferenceDestroy, preference))
}

// expect reads an attribute.
func expect[T comparable](v vendor, function string, of uintptr, attribute uintptr, want T) {
	v.Helper()
	var have T
	var written uint64
	get := library.Resolve(v.symbols, []string{function})
	status := get.Call(0, of, attribute, uintptr(unsafe.Pointer(&have)), unsafe.Sizeof(have), uintptr(unsafe.Pointer(&written)))
	if status != 0 || have != want || written != uint64(unsafe.Sizeof(have)) {
		v.Errorf("%s(%d): status %d, %d bytes, have %v, want %v", function, attribute, status, written, have, want)
	}
}
