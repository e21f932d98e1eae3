package lora

import (
	"strings"

	"github.com/atelier-go/atelier/weights"
)

// Embedding is a textual inversion that comes in an adapter's file: vectors that stand in prompts in place of its name, as long as
// the adapter is applied.
type Embedding struct {
	Name    string
	Vectors Factor // [vectors,C], or [C] for one
}

// bundlePrefix begins the keys of embeddings, bundle_emb.NAME.string_to_param.* or bundle_emb.NAME.ANY.
const bundlePrefix = "bundle_emb."

// bundled reads the embeddings among tensors that are no part of the adapter. An embedding of several tensors is one for other
// models, and left out.
func bundled(f *weights.File, keys []string) (all []Embedding, err error) {
	count := make(map[string]int)
	for _, key := range keys {
		count[bundledName(key)]++
	}
	for _, key := range keys {
		name := bundledName(key)
		if name == "" || count[name] > 1 {
			continue
		}
		e := Embedding{Name: name}
		if e.Vectors, err = ReadFactor(f, key); err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// bundledName is the name of the embedding that a tensor is of.
func bundledName(key string) string {
	name, _, found := strings.Cut(strings.TrimPrefix(key, bundlePrefix), ".")
	if !found {
		return ""
	}
	return name
}
