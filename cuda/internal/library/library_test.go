package library

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// fake is a computer that has the files with the given paths and opens those that are not broken.
func fake(windows bool, files, environment []string, broken ...string) (Computer, *[]string) {
	opened := new([]string)
	c := Computer{Windows: windows, Environment: environment, Executable: "/opt/atelier/txt2img", Home: "/home/ada"}
	if windows {
		c.Executable, c.Home = `C:\atelier\txt2img.exe`, `C:\Users\ada`
	}
	c.Names = func(folder string) (names []string) {
		for _, file := range files {
			if rest, ok := strings.CutPrefix(file, strings.TrimRight(folder, c.separators())+c.separators()[:1]); ok {
				name, _, _ := strings.Cut(rest, c.separators()[:1])
				names = append(names, name)
			}
		}
		return slices.Compact(slices.Sorted(slices.Values(names)))
	}
	c.Open = func(path string) (Symbols, error) {
		if !slices.Contains(files, path) || slices.Contains(broken, path) {
			return nil, errors.New("cannot open " + path)
		}
		*opened = append(*opened, path)
		return nil, nil
	}
	c.Beside = func(string) func() { return func() {} }
	return c, opened
}

func TestFind(t *testing.T) {
	const (
		venv   = "/home/ada/venv/lib/python3.11/site-packages/"
		kohya  = "/home/ada/kohya_ss/venv/lib/python3.10/site-packages/"
		python = `C:\Users\ada\stable-diffusion-webui\venv\Lib\site-packages\`
	)
	tests := map[string]struct {
		family      Family
		cuda        int
		windows     bool
		files       []string
		environment []string
		broken      []string
		want        string
	}{
		"the variable alone": {CuBLAS, 12, false, []string{"/a/libcublasLt.so.12", venv + "nvidia/cublas/lib/libcublasLt.so.12"},
			[]string{"ATELIER_CUDA_LIB_DIR=/none:/a", "VIRTUAL_ENV=/home/ada/venv"}, nil, "/a/libcublasLt.so.12"},
		"beside the program": {CuBLAS, 12, false, []string{"/opt/atelier/lib/libcublasLt.so.12", "libcublasLt.so.12"}, nil, nil, "/opt/atelier/lib/libcublasLt.so.12"},
		"wheel of the virtual environment before the toolkit": {CuBLAS, 12, false, []string{"/usr/local/cuda/lib64/libcublasLt.so.12", venv + "nvidia/cublas/lib/libcublasLt.so.12"},
			[]string{"CUDA_HOME=/usr/local/cuda", "VIRTUAL_ENV=/home/ada/venv"}, nil, venv + "nvidia/cublas/lib/libcublasLt.so.12"},
		"wheels for CUDA 13":              {CuBLAS, 13, false, []string{venv + "nvidia/cu13/lib/libcublasLt.so.13"}, []string{"VIRTUAL_ENV=/home/ada/venv"}, nil, venv + "nvidia/cu13/lib/libcublasLt.so.13"},
		"the newest of a folder":          {CuBLAS, 13, false, []string{"/x/lib64/libcublasLt.so.12", "/x/lib64/libcublasLt.so.13"}, []string{"CUDA_PATH=/x"}, nil, "/x/lib64/libcublasLt.so.13"},
		"what the driver can use":         {CuBLAS, 12, false, []string{"/x/lib64/libcublasLt.so.12", "/x/lib64/libcublasLt.so.13"}, []string{"CUDA_PATH=/x"}, nil, "/x/lib64/libcublasLt.so.12"},
		"the system":                      {CuBLAS, 12, false, []string{"libcublasLt.so.12", "/usr/local/cuda/lib64/libcublasLt.so.12"}, nil, nil, "libcublasLt.so.12"},
		"the newest toolkit":              {CuBLAS, 12, false, []string{"/usr/local/cuda-12.9/lib64/libcublasLt.so.12", "/usr/local/cuda-12.10/lib64/libcublasLt.so.12"}, nil, nil, "/usr/local/cuda-12.10/lib64/libcublasLt.so.12"},
		"a broken one is passed":          {CuBLAS, 12, false, []string{"/opt/atelier/lib/libcublasLt.so.12", "/usr/lib64/libcublasLt.so.12"}, nil, []string{"/opt/atelier/lib/libcublasLt.so.12"}, "/usr/lib64/libcublasLt.so.12"},
		"a trainer's environment":         {CuDNN, 12, false, []string{kohya + "nvidia/cudnn/lib/libcudnn.so.9"}, nil, nil, kohya + "nvidia/cudnn/lib/libcudnn.so.9"},
		"cuDNN 8 on an old driver":        {CuDNN, 11, false, []string{"/usr/lib64/libcudnn.so.9", "/usr/lib64/libcudnn.so.8"}, nil, nil, "/usr/lib64/libcudnn.so.8"},
		"PyTorch for Windows":             {CuBLAS, 12, true, []string{python + `torch\lib\cublasLt64_12.dll`}, nil, nil, python + `torch\lib\cublasLt64_12.dll`},
		"Windows, a variable of any case": {CuBLAS, 12, true, []string{`C:\CUDA\bin\cublasLt64_12.dll`}, []string{`Cuda_Path=C:\CUDA`}, nil, `C:\CUDA\bin\cublasLt64_12.dll`},
		"Windows, versioned variables":    {CuBLAS, 12, true, []string{`C:\12.4\bin\cublasLt64_12.dll`, `C:\11.8\bin\cublasLt64_11.dll`}, []string{`CUDA_PATH_V11_8=C:\11.8`, `CUDA_PATH_V12_4=C:\12.4`}, nil, `C:\12.4\bin\cublasLt64_12.dll`},
		"Windows, CUDA 13's toolkit":      {CuBLAS, 13, true, []string{`C:\13\bin\x64\cublasLt64_13.dll`}, []string{`CUDA_PATH=C:\13`}, nil, `C:\13\bin\x64\cublasLt64_13.dll`},
		"cuDNN's installer": {CuDNN, 12, true, []string{`C:\Program Files\NVIDIA\CUDNN\v9.5\bin\12.6\cudnn64_9.dll`, `C:\Program Files\NVIDIA\CUDNN\v9.10\bin\12.9\cudnn64_9.dll`}, nil, nil,
			`C:\Program Files\NVIDIA\CUDNN\v9.10\bin\12.9\cudnn64_9.dll`},
		"a portable web UI": {CuDNN, 12, true, []string{`D:\ComfyUI_portable\python_embeded\Lib\site-packages\nvidia\cudnn\bin\cudnn64_9.dll`}, nil, nil,
			`D:\ComfyUI_portable\python_embeded\Lib\site-packages\nvidia\cudnn\bin\cudnn64_9.dll`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c, _ := fake(test.windows, test.files, test.environment, test.broken...)
			lib, err := c.Find(test.family, test.cuda)
			if err != nil {
				t.Fatal(err)
			}
			if lib.Path != test.want {
				t.Errorf("found %s, want %s", lib.Path, test.want)
			}
		})
	}
}

func TestRegistered(t *testing.T) {
	const lib = "/data/webui/venv/lib/python3.10/site-packages/nvidia/cublas/lib/libcublasLt.so.12"
	for _, folder := range []string{"/data/webui", "/data/webui/venv", "/data/webui/venv/lib/python3.10/site-packages/nvidia/cublas/lib"} {
		c, _ := fake(false, []string{lib, "libcublasLt.so.12"}, nil)
		c.Registered = []string{folder}
		if found, err := c.Find(CuBLAS, 12); err != nil || found.Path != lib || found.Why != "registered" {
			t.Errorf("%s: found %+v, %v", folder, found, err)
		}
	}
}

// TestOrder says that cuDNN's parts are opened before the library that looks for them by bare name.
func TestOrder(t *testing.T) {
	c, opened := fake(false, []string{"/d/libcudnn.so.9", "/d/libcudnn_graph.so.9", "/d/libcudnn_cnn.so.9", "/d/libcudnn_engines_runtime_compiled.so.9"},
		[]string{"ATELIER_CUDA_LIB_DIR=/d"}, "/d/libcudnn_engines_runtime_compiled.so.9")
	if _, err := c.Find(CuDNN, 12); err != nil {
		t.Fatal(err)
	}
	if want := []string{"/d/libcudnn_graph.so.9", "/d/libcudnn_cnn.so.9", "/d/libcudnn.so.9"}; !slices.Equal(*opened, want) {
		t.Errorf("opened %q, want %q", *opened, want)
	}
}

func TestNotFound(t *testing.T) {
	c, _ := fake(false, []string{"/x/lib64/libcublasLt.so.13", "/opt/atelier/lib/libcublasLt.so.12"}, []string{"CUDA_PATH=/x"}, "/opt/atelier/lib/libcublasLt.so.12")
	_, err := c.Find(CuBLAS, 12)
	failed, ok := errors.AsType[*NotFoundError](err)
	if !ok {
		t.Fatalf("have %v", err)
	}
	for _, want := range []string{
		"cuBLASLt cannot be used: /opt/atelier/lib/libcublasLt.so.12 (beside the program): cannot open",
		"/x/lib64/libcublasLt.so.13 (CUDA_PATH): it is for CUDA 13 and the driver knows 12: update the driver",
		"there is none in ", "/usr/lib64 (the distribution)", "what the system searches",
		"install the Python package nvidia-cublas-cu12, or set ATELIER_CUDA_LIB_DIR",
	} {
		if !strings.Contains(failed.Error(), want) {
			t.Errorf("%q lacks %q", failed, want)
		}
	}
}

func TestNoDriver(t *testing.T) {
	for _, windows := range []bool{false, true} {
		c, _ := fake(windows, nil, nil)
		_, err := c.OpenDriver()
		if _, ok := errors.AsType[*NotFoundError](err); !ok || !strings.Contains(err.Error(), "Install NVIDIA's driver, version 525") {
			t.Errorf("have %v", err)
		}
	}
}

// TestHere opens what no machine has, by the real system: the error says so and nothing else happens.
func TestHere(t *testing.T) {
	if _, err := Here().Open("libatelier-none.so.1"); err == nil {
		t.Error("a library that is not there was opened")
	}
	if len(Here().Places(CuDNN)) == 0 {
		t.Error("there is no place to look at")
	}
}

func TestCompareVersions(t *testing.T) {
	sorted := []string{"cuda", "cuda-9.2", "cuda-11.08", "cuda-12.4", "cuda-12.10", "cuda-13"}
	for i, a := range sorted {
		for j, b := range sorted {
			if got, want := compareVersions(a, b), i-j; got*want < 0 || got == 0 != (want == 0) {
				t.Errorf("%s, %s: %d", a, b, got)
			}
		}
	}
}
