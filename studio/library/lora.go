package library

import (
	"cmp"
	"os"
	"slices"
	"time"

	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/weights"
)

// LoRA is an adapter's file.
type LoRA struct {
	File
	Alias    string   // the name that it gave itself when it was trained; Name if it says none
	Triggers []string // words of the captions that it was trained on, the most frequent first, up to 20
	Modified time.Time
	Size     int64 // bytes
}

// Metadata reads what the file says of itself: sd-scripts' keys and others.
func (a LoRA) Metadata() (map[string]string, error) { return weights.ReadMetadata(a.Path) }

// described is what a file said when it was as it is now.
type described struct {
	alias    string
	triggers []string
	size     int64
	modified time.Time
}

// LoRAs are the adapters, by their places. What was not read before is read, no further than its metadata.
func (l *Library) LoRAs() []LoRA {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.loras {
		l.describe(&l.loras[i])
	}
	return slices.Clone(l.loras)
}

// asLoRAs are files as adapters, of which nothing is read yet.
func (l *Library) asLoRAs(files []File) (all []LoRA) {
	for _, f := range files {
		all = append(all, LoRA{File: f, Alias: f.Name})
	}
	return all
}

// maxTriggers is how many words of captions are told.
const maxTriggers = 20

// describe fills in what the file says of itself. One that cannot be read says nothing; what draws with it will tell what is wrong.
func (l *Library) describe(a *LoRA) {
	info, err := os.Stat(a.Path)
	if err != nil {
		return
	}
	a.Size, a.Modified = info.Size(), info.ModTime()
	d, ok := l.read[a.Path]
	if !ok || d.size != a.Size || !d.modified.Equal(a.Modified) {
		d = described{size: a.Size, modified: a.Modified}
		if metadata, err := a.Metadata(); err == nil {
			d.alias, d.triggers = metadata["ss_output_name"], triggers(metadata)
		}
		l.read[a.Path] = d
	}
	if a.Alias, a.Triggers = a.Name, d.triggers; d.alias != "None" {
		a.Alias = cmp.Or(d.alias, a.Name)
	}
}

func triggers(metadata map[string]string) (words []string) {
	tags, err := lora.TagFrequency(metadata)
	if err != nil {
		return nil
	}
	for _, tag := range tags[:min(len(tags), maxTriggers)] {
		words = append(words, tag.Tag)
	}
	return words
}
