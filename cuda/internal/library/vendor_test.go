//go:build vendorlibs

package library

import (
	"path/filepath"
	"testing"
	"unsafe"
)

// TestVendor opens NVIDIA's compilers, which others of its libraries open when they first need them, from the folders that
// ATELIER_CUDA_LIB_DIR names, and asks for their versions. .ci/vendorlibs fetches them.
func TestVendor(t *testing.T) {
	here := Here()
	for pattern, function := range map[string]string{
		"libnvrtc.so.*": "nvrtcVersion", "libnvJitLink.so.*": "nvJitLinkVersion", "nvrtc64_*_0.dll": "nvrtcVersion", "nvJitLink_*_0.dll": "nvJitLinkVersion",
	} {
		for _, folder := range here.list(here.variable(FolderVariable)) {
			files, _ := filepath.Glob(filepath.Join(folder, pattern))
			for _, file := range files {
				symbols, err := here.Open(file)
				if err != nil {
					t.Error(err)
					continue
				}
				var major, minor uint32
				version := Resolve(symbols, []string{function})
				if version[0] == 0 || version.Call(0, uintptr(unsafe.Pointer(&major)), uintptr(unsafe.Pointer(&minor))) != 0 || major < 11 {
					t.Errorf("%s: %s says %d.%d", file, function, major, minor)
				}
				t.Logf("%s is version %d.%d", file, major, minor)
			}
		}
	}
}
