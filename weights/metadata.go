package weights

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"

	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/weights/pickle"
)

// ReadMetadata returns the header strings of a safetensors file, which writers put first, without reading or checking what
// stands behind them: for looking through many files, of which few are opened afterwards. Those of a file of PyTorch are what
// File.Metadata has.
func ReadMetadata(path string) (map[string]string, error) {
	f, err := openfile.Open(path)
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	if pickle.Recognise(f) {
		return pickledMetadata(path)
	}
	n, err := headerLength(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("weights: %s: %w", path, err)
	}
	metadata, err := scanMetadata(io.NewSectionReader(f, 8, n))
	if err != nil {
		return nil, fmt.Errorf("weights: %s: %w", path, err)
	}
	return metadata, nil
}

func pickledMetadata(path string) (map[string]string, error) {
	f, err := OpenFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.metadata, nil
}

// scanMetadata reads a header up to the end of its metadata.
func scanMetadata(header io.Reader) (map[string]string, error) {
	w := jsonWalker{json.NewDecoder(bufio.NewReader(header)), nil, "header"}
	if err := w.delim('{'); err != nil {
		return nil, err
	}
	metadata := make(map[string]string)
	for tensors := 0; w.dec.More(); tensors++ {
		name, err := w.token()
		switch {
		case err != nil:
			return nil, err
		case name == "__metadata__":
			err := w.metadata(func(key, value string) { metadata[key] = value })
			return metadata, err
		case tensors == maxTensors:
			return nil, fmt.Errorf("header: more than %d tensors", maxTensors)
		}
		if err := w.skip(); err != nil {
			return nil, err
		}
	}
	return metadata, nil
}
