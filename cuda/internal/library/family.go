package library

import "fmt"

// Family is a set of libraries that belong together.
type Family struct {
	Name     string    // "cuBLASLt"
	Wheel    string    // the folder of its Python package below nvidia: "cublas"
	Package  string    // what to install: "nvidia-cublas-cu12"
	Versions []Version // the newest first
}

// Version names the files of one version of a family. The last one has the functions; the others are opened before it, those
// that are there, so that it finds them wherever they lie.
type Version struct {
	CUDA           int // the CUDA version that it needs of the driver, at least
	Linux, Windows []string
}

// CuBLAS is the family of cuBLASLt, which multiplies matrices.
var CuBLAS = Family{Name: "cuBLASLt", Wheel: "cublas", Package: "nvidia-cublas-cu12", Versions: []Version{cublas(13), cublas(12), cublas(11)}}

// CuBLASOf is the family of cuBLASLt for one version of CUDA.
func CuBLASOf(cuda int) Family {
	f := CuBLAS
	f.Versions = []Version{cublas(cuda)}
	return f
}

func cublas(cuda int) Version {
	return Version{cuda, []string{fmt.Sprintf("libcublasLt.so.%d", cuda)}, []string{fmt.Sprintf("cublasLt64_%d.dll", cuda)}}
}

// CuDNN is the family of cuDNN, which convolves. Version 9 opens its parts by bare name when it first needs them.
var CuDNN = Family{Name: "cuDNN", Wheel: "cudnn", Package: "nvidia-cudnn-cu12", Versions: []Version{
	cudnn(12, 9, "graph", "ops", "engines_precompiled", "engines_runtime_compiled", "engines_tensor_ir", "ext", "heuristic", "cnn"),
	cudnn(11, 8, "ops_infer", "cnn_infer", "ops_train", "cnn_train"),
}}

func cudnn(cuda, major int, parts ...string) Version {
	v := Version{CUDA: cuda}
	for _, part := range parts {
		v.Linux = append(v.Linux, fmt.Sprintf("libcudnn_%s.so.%d", part, major))
		v.Windows = append(v.Windows, fmt.Sprintf("cudnn_%s64_%d.dll", part, major))
	}
	v.Linux = append(v.Linux, fmt.Sprintf("libcudnn.so.%d", major))
	v.Windows = append(v.Windows, fmt.Sprintf("cudnn64_%d.dll", major))
	return v
}

// NVRTC is the family of the compiler that cuDNN makes fused kernels with, for one version of CUDA. cuDNN opens it by bare name.
func NVRTC(cuda int) Family {
	number, file := fmt.Sprint(cuda), fmt.Sprintf("%d0", cuda)
	if cuda == 11 {
		number, file = "11.2", "112"
	}
	return Family{Name: "NVRTC", Wheel: "cuda_nvrtc", Package: fmt.Sprintf("nvidia-cuda-nvrtc-cu%d", cuda), Versions: []Version{
		{cuda, []string{"libnvrtc.so." + number}, []string{"nvrtc64_" + file + "_0.dll"}},
	}}
}

// files are the version's on a machine of the given kind.
func (v Version) files(windows bool) []string {
	if windows {
		return v.Windows
	}
	return v.Linux
}
