package kohya

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/atelier-go/atelier/internal/tomltree"
)

// maxFileBytes bounds a file of options; what the GUI saves is a tenth of it.
const maxFileBytes = 256 << 10

// ReadFile reads a file of options, telling by its content which it is: sd-scripts' config_file, also as the GUI writes it,
// or the GUI's JSON. In a config_file section headings have no meaning. Of the name the extension .toml may be left out.
//
// The GUI's JSON follows the GUI: what it leaves out is as in an empty form, zeros and empty texts leave the option to
// sd-scripts, numbers may be texts, keys of other models and of the launcher are passed over.
func (o *Options) ReadFile(path string) error {
	if o.path != "" {
		return fmt.Errorf("kohya: %s: %s was read already; one file can be read", path, o.path)
	}
	data, err := readBounded(path)
	if errors.Is(err, os.ErrNotExist) && filepath.Ext(path) == "" {
		data, err = readBounded(path + ".toml")
	}
	if err != nil {
		return fmt.Errorf("kohya: options: %w", err)
	}
	if err := o.parse(data); err != nil {
		return fmt.Errorf("kohya: %s: %w", path, err)
	}
	o.path = path
	return nil
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err == nil && len(data) > maxFileBytes {
		err = fmt.Errorf("%s has more than %d bytes; it cannot be options", path, maxFileBytes)
	}
	return data, err
}

// parse reads the content of a file.
func (o *Options) parse(data []byte) error {
	data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\ufeff")))
	var tree map[string]any
	var err error
	if bytes.HasPrefix(data, []byte("{")) {
		tree, err = parseJSON(data)
	} else {
		tree, err = parseTOML(data)
	}
	if err != nil {
		return err
	}
	if tree["datasets"] != nil {
		return errors.New("this is a dataset config; name it as dataset_config, not as config_file")
	}
	if isGUI(tree) {
		return o.readGUI(tree)
	}
	o.file, err = readOptions(tree)
	return err
}

func parseJSON(data []byte) (tree map[string]any, err error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&tree); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text after the JSON object")
	}
	return tree, nil
}

// parseTOML reads TOML and leaves out section headings.
func parseTOML(data []byte) (flat map[string]any, err error) {
	tree, err := tomltree.Decode(data)
	if err != nil {
		return nil, err
	}
	flat = make(map[string]any)
	var errs []error
	add := func(name string, value any) {
		if _, ok := flat[name]; ok {
			errs = append(errs, fmt.Errorf("%.60q is there twice", name))
		}
		flat[name] = value
	}
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		section, ok := tree[name].(map[string]any)
		if !ok {
			add(name, tree[name])
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(section)) {
			add(name, section[name])
		}
	}
	return flat, errors.Join(errs...)
}

// readOptions reads sd-scripts' options. Empty texts name nothing.
func readOptions(tree map[string]any) (map[string][]string, error) {
	options := make(map[string][]string)
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(tree)) {
		name := key
		if alias, ok := aliases[key]; ok {
			name = alias
		}
		if rows[name] == nil && (launcherKeys[name] || guiOnly(name)) {
			continue
		}
		if rows[name] == nil {
			errs = append(errs, fmt.Errorf("there is no option %.60q%s", key, suggest(key, optionNames())))
			continue
		}
		if name == "config_file" {
			errs = append(errs, errors.New("config_file in a config_file; put the options into one file"))
			continue
		}
		values, err := texts(tree[key])
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %w", key, err))
			continue
		}
		if len(values) == 0 || len(values) == 1 && values[0] == "" {
			continue
		}
		if options[name] != nil {
			errs = append(errs, fmt.Errorf("%s and its other name are both there; keep one", name))
		}
		options[name] = values
	}
	return options, errors.Join(errs...)
}

// texts are a decoded value as the command line would have it; none for null.
func texts(value any) ([]string, error) {
	switch v := value.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{v}, nil
	case bool:
		return []string{strconv.FormatBool(v)}, nil
	case int64:
		return []string{strconv.FormatInt(v, 10)}, nil
	case float64:
		return []string{strconv.FormatFloat(v, 'g', -1, 64)}, nil
	case json.Number:
		return []string{v.String()}, nil
	case []any:
		var all []string
		for _, element := range v {
			if _, ok := element.([]any); ok {
				return nil, errors.New("is a list of lists, want a list of numbers or texts")
			}
			one, err := texts(element)
			if err != nil {
				return nil, err
			}
			all = append(all, one...)
		}
		return all, nil
	case map[string]any, []map[string]any:
		return nil, errors.New("is a table, want a value")
	}
	return nil, fmt.Errorf("is %.60q, want a number, a text, true or false", fmt.Sprint(value))
}
