package library

import "strings"

// FolderVariable is the environment variable that names the folders to take libraries from, and then from nowhere else.
const FolderVariable = "ATELIER_CUDA_LIB_DIR"

// Place is a folder that libraries may be in.
type Place struct {
	Folder string // "" stands for wherever the system looks for a bare name
	Why    string // what points there: "VIRTUAL_ENV"
}

// Places lists where a family may be, in this order:
//
//  1. the folders of ATELIER_CUDA_LIB_DIR: if it is set, nowhere else,
//  2. lib beside the program,
//  3. the folders that the user registered,
//  4. the virtual environments of VIRTUAL_ENV and CONDA_PREFIX,
//  5. the toolkits of CUDA_HOME, CUDA_PATH and CUDA_PATH_V*,
//  6. where the system looks,
//  7. where toolkits, distributions, web UIs and trainers are installed.
func (c Computer) Places(f Family) []Place {
	s := search{c, f, nil}
	if only := c.variable(FolderVariable); only != "" {
		for _, folder := range c.list(only) {
			s.add(FolderVariable, folder)
		}
		return s.places
	}
	if c.Executable != "" {
		s.add("beside the program", c.join(c.parent(c.Executable), "lib"))
	}
	for _, folder := range c.Registered {
		s.registered(folder)
	}
	s.environment("VIRTUAL_ENV", c.variable("VIRTUAL_ENV"))
	s.conda(c.variable("CONDA_PREFIX"))
	s.toolkits()
	s.places = append(s.places, Place{"", "the system"})
	s.installed()
	return s.places
}

// search collects places, each folder once.
type search struct {
	Computer
	family Family
	places []Place
}

func (s *search) add(why string, folders ...string) {
	for _, folder := range folders {
		if !s.known(folder) {
			s.places = append(s.places, Place{folder, why})
		}
	}
}

func (s *search) known(folder string) bool {
	for _, place := range s.places {
		if s.fold(place.Folder) == s.fold(folder) {
			return true
		}
	}
	return false
}

// registered adds what may lie in a folder of libraries, of an environment, or of a program with an environment of its own.
func (s *search) registered(folder string) {
	s.add("registered", folder)
	s.environment("registered", folder)
	for _, name := range environments {
		s.environment("registered", s.join(folder, name))
	}
	s.portable("registered", folder)
}

// environments are the folders of virtual environments in those of web UIs and trainers.
var environments = []string{"venv", ".venv", "env"}

// environment adds the Python packages of a virtual environment.
func (s *search) environment(why, folder string) {
	switch {
	case folder == "":
	case s.Windows:
		s.site(why, s.join(folder, "Lib", "site-packages"))
	default:
		for _, site := range s.glob(folder, "lib", "python3.*", "site-packages") {
			s.site(why, site)
		}
	}
}

// portable adds the Python that builds for Windows bring along.
func (s *search) portable(why, folder string) {
	if s.Windows {
		s.site(why, s.join(folder, "system", "python", "Lib", "site-packages"))
		s.site(why, s.join(folder, "python_embeded", "Lib", "site-packages"))
	}
}

// site adds where the packages of a site-packages folder keep the family: the packages for CUDA 13 in one folder, older ones in
// one each, PyTorch for Windows and old ones for Linux among its own libraries.
func (s *search) site(why, site string) {
	if len(s.Names(site)) == 0 {
		return
	}
	nvidia := s.join(site, "nvidia")
	if s.Windows {
		s.add(why, s.join(nvidia, "cu13", "bin", "x86_64"), s.join(nvidia, s.family.Wheel, "bin"), s.join(site, "torch", "lib"))
	} else {
		s.add(why, s.join(nvidia, "cu13", "lib"), s.join(nvidia, s.family.Wheel, "lib"), s.join(site, "torch", "lib"))
	}
}

func (s *search) conda(prefix string) {
	switch {
	case prefix == "":
	case s.Windows:
		s.add("CONDA_PREFIX", s.join(prefix, "Library", "bin"))
		s.environment("CONDA_PREFIX", prefix)
	default:
		s.add("CONDA_PREFIX", s.join(prefix, "lib"))
		s.environment("CONDA_PREFIX", prefix)
	}
}

// toolkits adds those that variables name, of several versions the newest first.
func (s *search) toolkits() {
	s.toolkit("CUDA_HOME", s.variable("CUDA_HOME"))
	s.toolkit("CUDA_PATH", s.variable("CUDA_PATH"))
	for _, name := range s.versioned("CUDA_PATH_V") {
		s.toolkit(name, s.variable(name))
	}
}

// versioned lists the variables whose names begin with a prefix, the newest version first.
func (s *search) versioned(prefix string) []string {
	c := s.Computer
	c.Names = func(string) (names []string) {
		for _, setting := range s.Environment {
			name, _, _ := strings.Cut(setting, "=")
			names = append(names, name)
		}
		return names
	}
	return c.matches("", prefix+"*")
}

func (s *search) toolkit(why, folder string) {
	switch {
	case folder == "":
	case s.Windows:
		s.add(why, s.join(folder, "bin", "x64"), s.join(folder, "bin"))
	default:
		s.add(why, s.join(folder, "lib64"), s.join(folder, "targets", "x86_64-linux", "lib"))
	}
}

// installed adds where installers put the family, and the environments of web UIs and trainers in the user's home.
func (s *search) installed() {
	if s.Windows {
		s.installedWindows()
	} else {
		s.installedLinux()
	}
	for _, pattern := range []string{"stable-diffusion-webui*", "kohya_ss*", "sd-scripts*", "ComfyUI*"} {
		for _, root := range s.roots() {
			for _, folder := range s.glob(root, pattern) {
				for _, name := range environments {
					s.environment("a Python environment", s.join(folder, name))
				}
				s.portable("a Python environment", folder)
			}
		}
	}
}

// roots are the folders in which people unpack programs.
func (s *search) roots() []string {
	roots := []string{s.Home}
	if s.Windows {
		roots = append(roots, `C:`, `D:`)
	}
	if s.Home == "" {
		roots = roots[1:]
	}
	return roots
}

func (s *search) installedLinux() {
	for _, folder := range s.glob("/usr/local", "cuda*") {
		s.toolkit("the toolkit", folder)
	}
	s.add("the distribution", "/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/opt/cuda/lib64")
}

func (s *search) installedWindows() {
	programs := s.variable("ProgramFiles")
	if programs == "" {
		programs = `C:\Program Files`
	}
	for _, folder := range s.glob(s.join(programs, "NVIDIA GPU Computing Toolkit", "CUDA"), "v*") {
		s.toolkit("the toolkit", folder)
	}
	for _, folder := range s.glob(s.join(programs, "NVIDIA", "CUDNN"), "v*") {
		s.add("cuDNN's installer", s.glob(folder, "bin", "*")...)
		s.add("cuDNN's installer", s.join(folder, "bin"))
	}
}
