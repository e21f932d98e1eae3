package weights

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The names of VAEs that stand for a choice, as the web UI has them.
const (
	AutomaticVAE = "Automatic" // the one beside the checkpoint, if there is one
	BuiltInVAE   = "None"      // the checkpoint's own
)

// FindVAE finds the VAE called name, for Options.VAE, by the web UI's rules: a file below one of dirs by its file name, with or
// without extension, or NAME.vae.EXT beside the checkpoint. "" and AutomaticVAE mean the file NAME.vae.EXT beside a checkpoint
// NAME.EXT, else a file below dirs whose name begins with NAME, else none; BuiltInVAE means none, for which path is "". An unknown
// name is a *NoVAEError.
func FindVAE(name, checkpoint string, dirs ...string) (path string, err error) {
	if name == BuiltInVAE {
		return "", nil
	}
	files, err := vaeFiles(checkpoint, dirs)
	if err != nil {
		return "", err
	}
	if name == "" || name == AutomaticVAE {
		return automaticVAE(checkpoint, files), nil
	}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if base := filepath.Base(file); base == name || withoutExtension(base) == name {
			return file, nil
		}
	}
	e := &NoVAEError{Name: name, Dirs: dirs}
	for file := range files {
		e.Names = append(e.Names, filepath.Base(file))
	}
	slices.Sort(e.Names)
	return "", e
}

// automaticVAE is the VAE that belongs to a checkpoint by its name, "" if there is none.
func automaticVAE(checkpoint string, files map[string]bool) string {
	if checkpoint == "" {
		return ""
	}
	model := strings.TrimSuffix(filepath.Base(checkpoint), filepath.Ext(checkpoint))
	sorted := slices.Sorted(maps.Keys(files))
	for _, beside := range []bool{true, false} {
		for _, file := range sorted {
			base := filepath.Base(file)
			if files[file] == beside && (strings.HasPrefix(base, model+".vae.") || !beside && strings.HasPrefix(base, model)) {
				return file
			}
		}
	}
	return ""
}

// withoutExtension is a file name without that of weights and the .vae before it.
func withoutExtension(base string) string {
	return strings.TrimSuffix(strings.TrimSuffix(base, filepath.Ext(base)), ".vae")
}

// vaeFiles are the files of weights below dirs, and those beside the checkpoint that are VAEs by their names, for which the value
// is true.
func vaeFiles(checkpoint string, dirs []string) (map[string]bool, error) {
	files := make(map[string]bool)
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() && isWeights(path) {
				files[path] = false
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("weights: %w", err)
		}
	}
	if checkpoint == "" {
		return files, nil
	}
	entries, err := os.ReadDir(filepath.Dir(checkpoint))
	if err != nil {
		return files, nil // the checkpoint itself will say what is wrong
	}
	for _, entry := range entries {
		if name := entry.Name(); !entry.IsDir() && isWeights(name) && strings.Contains(name, ".vae.") {
			files[filepath.Join(filepath.Dir(checkpoint), name)] = true
		}
	}
	return files, nil
}

// FindTAESD finds the file of the tiny autoencoder below dirs: called half, "taesd_decoder" or "taesd_encoder" as its authors call the
// halves, or "taesd", or that of diffusers in a folder "taesd". None is a *NoVAEError.
func FindTAESD(half string, dirs ...string) (path string, err error) {
	files, err := vaeFiles("", dirs)
	if err != nil {
		return "", err
	}
	sorted := slices.Sorted(maps.Keys(files))
	for _, name := range []string{half, "taesd", "taesd/diffusion_pytorch_model"} {
		for _, file := range sorted {
			whole := filepath.ToSlash(withoutExtension(file))
			if whole == name || strings.HasSuffix(whole, "/"+name) {
				return file, nil
			}
		}
	}
	return "", &NoVAEError{Name: half, Dirs: dirs}
}

// NoVAEError says that there is no VAE of a name.
type NoVAEError struct {
	Name  string
	Dirs  []string
	Names []string // that there are
}

// Error names what there is, or says where to put files.
func (e *NoVAEError) Error() string {
	if len(e.Names) == 0 {
		return fmt.Sprintf("weights: no VAE called %.100q in %q; put its file there", e.Name, e.Dirs)
	}
	return fmt.Sprintf("weights: no VAE called %.100q in %q; there are %.1000q", e.Name, e.Dirs, e.Names)
}
