package dataset

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"
)

// ParseTOML reads a dataset config file of sd-scripts in its usual form, tables [general], [[datasets]] and
// [[datasets.subsets]]. See [ParseJSON] for its rules.
func ParseTOML(data []byte, defaults Defaults) ([]Set, error) {
	if len(data) > maxConfigBytes {
		return nil, fmt.Errorf("dataset: config of %d bytes, want at most %d", len(data), maxConfigBytes)
	}
	var tree map[string]any
	err := guard(func() error { return toml.Unmarshal(data, &tree) })
	if err != nil {
		return nil, fmt.Errorf("dataset: config: %w", err)
	}
	return parseTree(tree, defaults)
}

// ReadConfig reads a dataset config file, TOML or, if it is called so, JSON.
func ReadConfig(path string, defaults Defaults) ([]Set, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("dataset: config: %w", err)
	}
	if info.Size() > maxConfigBytes {
		return nil, fmt.Errorf("dataset: config %s: %d bytes, want at most %d", path, info.Size(), maxConfigBytes)
	}
	data, err := os.ReadFile(path)
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
