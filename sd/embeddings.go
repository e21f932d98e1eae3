package sd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sd/prompt"
	"github.com/atelier-go/atelier/weights"
)

// Embedding is a textual inversion: vectors that stand in a prompt in place of its name.
type Embedding struct {
	Name    string // of the file, without extension
	Path    string
	Vectors int
	Hash    string // SHA-256 of the file, hexadecimal digits

	values  []float32 // [Vectors,C]
	adapter string    // whose file it is in, by its name; "" for one in a file of its own
}

// SkippedEmbedding is a file among the embeddings that is none for this model.
type SkippedEmbedding struct {
	Path string
	Err  error // why, and what to do
}

// embeddings are the files of Options.EmbeddingDirs.
type embeddings struct {
	names   *prompt.Embeddings
	loaded  []Embedding
	skipped []SkippedEmbedding
}

// Embeddings lists the textual inversions that prompts may name, by name, and the files that were skipped, with the reasons. The folders are
// looked through once, by the first prompt or call.
func (p *Pipeline) Embeddings() ([]Embedding, []SkippedEmbedding, error) {
	all, err := p.openEmbeddings()
	if err != nil {
		return nil, nil, fmt.Errorf("sd: %w", err)
	}
	return slices.Clone(all.loaded), slices.Clone(all.skipped), nil
}

// openEmbeddings reads all files of Options.EmbeddingDirs, once.
func (p *Pipeline) openEmbeddings() (*embeddings, error) {
	p.files.Lock()
	defer p.files.Unlock()
	if p.embeddings != nil {
		return p.embeddings, nil
	}
	all := new(embeddings)
	for _, dir := range p.embeddingDirs {
		if err := all.openFolder(dir, p.networks.Text.Config().HiddenSize, p.networks.Tokenizer.MaxLength()-2); err != nil {
			return nil, &invalid.FieldError{Field: "Options.EmbeddingDirs", Err: err}
		}
	}
	slices.SortStableFunc(all.loaded, func(a, b Embedding) int { return strings.Compare(a.Name, b.Name) })
	all.index(p.networks.Tokenizer)
	for _, s := range all.skipped {
		p.log.Warn("embedding skipped", "file", s.Path, "reason", s.Err)
	}
	p.embeddings = all
	return all, nil
}

// index makes the names known to prompts.
func (all *embeddings) index(t prompt.Tokenizer) {
	all.names = new(prompt.Embeddings)
	for _, e := range all.loaded {
		all.names.Add(t, e.Name, e.Vectors)
	}
}

// embeddingsOf are all embeddings that prompts may name together with adapters: files, and what the adapters bring along by names that no file
// has.
func (p *Pipeline) embeddingsOf(set adapters) (*embeddings, error) {
	files, err := p.openEmbeddings()
	if err != nil || !slices.ContainsFunc(set, func(a adapter) bool { return len(a.Embeddings) > 0 }) {
		return files, err
	}
	all := &embeddings{loaded: slices.Clone(files.loaded)}
	for _, a := range set {
		for _, bundled := range a.Embeddings {
			if all.find(bundled.Name) != nil {
				continue
			}
			e := Embedding{Name: bundled.Name, Path: a.Path, adapter: a.name, values: bundled.Vectors.Data}
			if e.Vectors, err = vectorsIn(bundled.Vectors.Shape, p.networks.Text.Config().HiddenSize, p.networks.Tokenizer.MaxLength()-2); err != nil {
				p.log.Warn("embedding skipped", "file", a.Path, "name", e.Name, "reason", err)
				continue
			}
			all.loaded = append(all.loaded, e)
		}
	}
	all.index(p.networks.Tokenizer)
	return all, nil
}

// errImageEmbedding is why pictures are skipped.
var errImageEmbedding = errors.New("embeddings in pictures are not read; save it as .safetensors or .pt with the program that made it")

// openFolder reads the files in a folder and below it. What cannot be looked into there is skipped.
func (all *embeddings) openFolder(dir string, width, room int) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil && path == dir:
			return err
		case err != nil:
			all.skipped = append(all.skipped, SkippedEmbedding{path, err})
		case !entry.IsDir():
			all.open(path, width, room)
		}
		return nil
	})
}

// open reads a file, if it may be an embedding, that fits a model of a width with room for so many tokens in a chunk.
func (all *embeddings) open(path string, width, room int) {
	name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	var e Embedding
	var err error
	switch strings.ToLower(filepath.Ext(path)) {
	case ".safetensors", ".pt", ".bin":
		e, err = readEmbedding(path, width, room)
	case ".png", ".webp", ".jxl", ".avif":
		if strings.HasSuffix(strings.ToLower(name), ".preview") {
			return
		}
		err = errImageEmbedding
	default:
		return
	}
	if err == nil && all.find(name) != nil {
		err = fmt.Errorf("an embedding called %q is loaded already, from %s; rename one", name, all.find(name).Path)
	}
	if err == nil {
		e.Hash, err = weights.HashFile(context.Background(), path)
	}
	if err != nil {
		all.skipped = append(all.skipped, SkippedEmbedding{path, err})
		return
	}
	e.Name, e.Path = name, path
	all.loaded = append(all.loaded, e)
}

// find is the embedding of a name, nil if there is none.
func (all *embeddings) find(name string) *Embedding {
	for i := range all.loaded {
		if all.loaded[i].Name == name {
			return &all.loaded[i]
		}
	}
	return nil
}

// readEmbedding reads the vectors of a file: those under string_to_param, or the only tensor.
func readEmbedding(path string, width, room int) (e Embedding, err error) {
	f, err := weights.OpenFile(path)
	if err != nil {
		return e, err
	}
	defer f.Close()
	name, err := vectorsName(f)
	if err != nil {
		return e, err
	}
	info, _ := f.Info(name)
	if e.Vectors, err = vectorsIn(info.Shape, width, room); err != nil {
		return e, err
	}
	t, err := f.Tensor(name)
	if err != nil {
		return e, err
	}
	e.values = t.Float32s()
	if len(e.values) != e.Vectors*width || slices.ContainsFunc(e.values, notFinite) {
		return e, errors.New("its vectors are no finite numbers; the file is damaged")
	}
	return e, nil
}

// vectorsName is the name of the tensor that has a file's vectors.
func vectorsName(f *weights.File) (string, error) {
	names := f.Names()
	if slices.Contains(names, "clip_g") {
		return "", errors.New("it is for Stable Diffusion XL; take the one for SD 1.5")
	}
	params := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !strings.HasPrefix(name, "string_to_param") })
	if len(params) == 0 {
		params = names
	}
	if len(params) != 1 {
		return "", fmt.Errorf("it has %d tensors, want one; it is no textual inversion", len(params))
	}
	return params[0], nil
}

// MeasureEmbedding is how many vectors the file of a textual inversion has and how long they are, whatever model they are for.
func MeasureEmbedding(path string) (vectors, width int, err error) {
	f, err := weights.OpenFile(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	name, err := vectorsName(f)
	if err != nil {
		return 0, 0, fmt.Errorf("sd: %s: %w", path, err)
	}
	info, _ := f.Info(name)
	switch shape := info.Shape; len(shape) {
	case 1:
		return 1, shape[0], nil
	case 2:
		return shape[0], shape[1], nil
	}
	return 0, 0, fmt.Errorf("sd: %s: vectors of shape %v; it is no textual inversion", path, info.Shape)
}

// vectorsIn is the number of vectors in a tensor, if they fit a model of a width with room for so many in a chunk.
func vectorsIn(shape compute.Shape, width, room int) (int, error) {
	vectors := 1
	if len(shape) == 2 {
		vectors = shape[0]
	}
	if len(shape) < 1 || len(shape) > 2 || shape[len(shape)-1] != width {
		return 0, invalid.Field("Embedding.Vectors", shape, "[vectors,%d]; it is for another family of models: use one for Stable Diffusion 1.x", width)
	}
	if vectors < 1 || vectors > room {
		return 0, invalid.Field("Embedding.Vectors", vectors, "1 to %d, as many as a chunk has room for", room)
	}
	return vectors, nil
}

func notFinite(v float32) bool { return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) }

// vectors are those that stand in a chunk of a length in place of its tokens', by their places, start token included. What has no
// room is cut.
func (all *embeddings) vectors(length int, placed []prompt.Placed) map[int][]float32 {
	vectors := make(map[int][]float32)
	for _, one := range placed {
		e, at := all.find(one.Name), 1+one.At
		if e == nil {
			continue
		}
		width := len(e.values) / e.Vectors
		for i := range min(e.Vectors, length-at) {
			vectors[at+i] = e.values[i*width:][:width]
		}
	}
	return vectors
}

// hash is an embedding by its name and the first digits of its hash, or the name of the adapter that has it in its file, as infotexts list
// them.
func (all *embeddings) hash(name string) string {
	e := all.find(name)
	file := e.adapter
	if file == "" {
		file = e.Hash[:shortHash]
	}
	return strings.NewReplacer(":", "", ",", "").Replace(name) + ": " + file
}

// embed writes into added, [chunks,T,C] of zeros, what the embeddings of chunks add to the vectors that the text encoder's table has
// for their tokens, of which the ids are [chunks,T]. Known are the embeddings that they name.
func (p *Pipeline) embed(added []float32, ids []int32, chunks []prompt.Chunk, known *embeddings) error {
	width, length := len(added)/len(ids), len(ids)/len(chunks)
	rows := make(map[int32][]float32) // of the table, by id
	for i, chunk := range chunks {
		for at, vector := range known.vectors(length, chunk.Embeddings) {
			place := i*length + at
			id := ids[place]
			if rows[id] == nil {
				row, err := p.tokenVector(id, width)
				if err != nil {
					return err
				}
				rows[id] = row
			}
			for c, v := range rows[id] {
				added[place*width+c] = vector[c] - v
			}
		}
	}
	return nil
}

// tokenVector reads a row of the text encoder's table.
func (p *Pipeline) tokenVector(id int32, width int) ([]float32, error) {
	const name = "text_model.embeddings.token_embedding.weight"
	text := p.networks.Components[weights.KindTextEncoder]
	typ, err := text.ParamType(name)
	if err != nil {
		return nil, err
	}
	size := width * typ.DType.Size()
	row, at := make([]byte, size), int64(id)*int64(size)
	if r := text.OpenParam(name); r != nil {
		_, err = r.ReadAt(row, at)
	} else {
		var all []byte
		if all, err = text.ParamData(name); err == nil {
			copy(row, all[at:])
		}
	}
	values := make([]float32, width)
	weights.Widen(values, row, typ.DType)
	return values, err
}
