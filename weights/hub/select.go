package hub

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/weights"
)

// textFiles are fetched whenever a repository has them.
var textFiles = []string{
	"model_index.json", "scheduler/scheduler_config.json",
	"unet/config.json", "vae/config.json", "text_encoder/config.json",
	"tokenizer/vocab.json", "tokenizer/merges.txt", "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json",
	"tokenizer/special_tokens_map.json", "tokenizer/added_tokens.json",
}

// selection is what to fetch of a repository.
type selection struct {
	files   []string // in order
	indices []string // those of files that are indices of sharded weights
	single  string   // the one file that is the model, "" for a folder
}

// choose picks the files of a pipeline, of a component's own repository, or a lone single-file checkpoint.
func choose(r repo, names []string, variant string) (selection, error) {
	if err := checkNames(r, names, checkListed); err != nil {
		return selection{}, err
	}
	in := map[string][]string{}
	for _, name := range names {
		dir, base := path.Split(name)
		in[strings.TrimSuffix(dir, "/")] = append(in[strings.TrimSuffix(dir, "/")], base)
	}
	var s selection
	for _, kind := range weights.Kinds {
		s.addWeights(string(kind), in[string(kind)], variant)
	}
	if len(s.files) > 0 {
		for _, name := range textFiles {
			if slices.Contains(names, name) {
				s.files = append(s.files, name)
			}
		}
		return s, nil
	}
	s.addWeights("", in[""], variant)
	if len(s.files) > 0 {
		if slices.Contains(names, "config.json") {
			s.files = append(s.files, "config.json")
		}
		return s, nil
	}
	return chooseSingle(r, in[""])
}

func (s *selection) addWeights(dir string, names []string, variant string) {
	name := weights.ChooseFile(names, variant)
	if name == "" {
		return
	}
	s.files = append(s.files, path.Join(dir, name))
	if strings.HasSuffix(name, ".json") {
		s.indices = append(s.indices, path.Join(dir, name))
	}
}

// chooseSingle picks the only safetensors file, or the only one of PyTorch if there is none.
func chooseSingle(r repo, names []string) (selection, error) {
	for _, ext := range []string{".safetensors", ".ckpt"} {
		var files []string
		for _, name := range names {
			if strings.HasSuffix(name, ext) {
				files = append(files, name)
			}
		}
		switch len(files) {
		case 0:
			continue
		case 1:
			return selection{files: files, single: files[0]}, nil
		}
		return selection{}, fmt.Errorf("hub: %s holds several models (%s); download the one you want and give its path", r.id, strings.Join(files[:min(len(files), 5)], ", "))
	}
	return selection{}, fmt.Errorf("hub: %s has no weights of a Stable Diffusion model (safetensors, .bin or .ckpt files); choose another copy of the model", r.id)
}
