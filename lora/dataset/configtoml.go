package dataset

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/internal/tomltree"
)

// ParseTOML reads a dataset config file of sd-scripts in its usual form, tables [general], [[datasets]] and
// [[datasets.subsets]]. See [ParseJSON] for its rules.
func ParseTOML(data []byte, defaults Defaults) ([]Set, error) {
	tree, err := tomltree.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("dataset: config: %w", err)
	}
	return parseTree(tree, defaults)
}

// ReadConfig reads a dataset config file, TOML or, if it is called so, JSON.
func ReadConfig(path string, defaults Defaults) ([]Set, error) {
	data, err := openfile.ReadFile(path, maxConfigBytes)
	if err != nil {
		return nil, fmt.Errorf("dataset: config: %w", err)
	}
	parse := ParseTOML
	if strings.EqualFold(filepath.Ext(path), ".json") {
		parse = ParseJSON
	}
	sets, err := parse(data, defaults)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return sets, nil
}
