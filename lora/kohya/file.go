package kohya

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/internal/tomltree"
	"github.com/atelier-go/atelier/invalid"
)

// maxFileBytes bounds a file of options; what the GUI saves is a tenth of it.
const maxFileBytes = 256 << 10

// ReadFile reads a file of options, telling by its content which it is: sd-scripts' config_file, also as the GUI writes it,
// or the GUI's JSON. In a config_file section headings have no meaning. Of the name the extension .toml may be left out.
//
// The GUI's JSON follows the GUI: what it leaves out is as in an empty form, zeros and empty texts leave the option to
// sd-scripts, numbers may be texts, keys of other models and of the launcher are passed over.
func (o *Options) ReadFile(path string) error {
	data, err := openfile.ReadFile(path, maxFileBytes)
	if errors.Is(err, os.ErrNotExist) && filepath.Ext(path) == "" {
		data, err = openfile.ReadFile(path+".toml", maxFileBytes)
	}
	if err != nil {
		return fmt.Errorf("kohya: options: %w", err)
	}
	return o.take(data, path)
}

// take reads the content of the one file that can be read.
func (o *Options) take(data []byte, path string) error {
	if o.path != "" {
		return fmt.Errorf("kohya: %s: %s was read already; one file can be read", path, o.path)
	}
	if err := o.parse(data); err != nil {
		return fmt.Errorf("kohya: %s: %w", path, err)
	}
	o.path = path
	return nil
}

// parse reads the content of a file.
func (o *Options) parse(data []byte) error {
	tree, err := decode(data)
	if err != nil {
		return err
	}
	if err := foreign(tree); err != nil {
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

// decode reads TOML or JSON, whichever it is.
func decode(data []byte) (map[string]any, error) {
	data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\ufeff")))
	if bytes.HasPrefix(data, []byte("{")) {
		return decodeJSON(data)
	}
	tree, err := tomltree.Decode(data)
	if err != nil {
		return nil, cmp.Or(foreignText(data), err)
	}
	return tree, nil
}

func decodeJSON(data []byte) (tree map[string]any, err error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&tree); err != nil {
		if strings.Contains(err.Error(), "escape") {
			err = fmt.Errorf(`%w; in paths write \\ or /`, err)
		}
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text after the JSON object")
	}
	return tree, nil
}

// entry is a key of a file, in a section or outside of all.
type entry struct {
	section, key string
	value        any
}

// entries lists what a file holds, section by section; their headings have no meaning.
func entries(tree map[string]any) (all []entry) {
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		section, ok := tree[name].(map[string]any)
		if !ok {
			all = append(all, entry{"", name, tree[name]})
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(section)) {
			all = append(all, entry{"[" + name + "] ", key, section[key]})
		}
	}
	return all
}

// readOptions reads sd-scripts' options. Empty texts name nothing. What is there several times has to be the same.
func readOptions(tree map[string]any) (map[string][]string, error) {
	options, first := make(map[string][]string), make(map[string]string)
	known := optionNames()
	var errs []error
	for _, e := range entries(tree) {
		name := cmp.Or(aliases[e.key], e.key)
		where := fmt.Sprintf("%.60s%.60s", e.section, e.key)
		values, err := texts(e.value)
		switch {
		case rows[name] == nil && (launcherKeys[name] || guiOnly(name)):
		case rows[name] == nil:
			errs = append(errs, unknown(known, e.key, "%.60sthere is no option %.60q", e.section, e.key))
		case name == "config_file":
			errs = append(errs, errors.New("config_file in a config_file; put the options into one file"))
		case err != nil:
			errs = append(errs, fmt.Errorf("%s %w", where, err))
		case len(values) == 0 || len(values) == 1 && values[0] == "":
		case first[name] != "" && !slices.Equal(options[name], values):
			errs = append(errs, fmt.Errorf("%s is %.60q, but %s is %.60q; keep one", where, strings.Join(values, ","), first[name], strings.Join(options[name], ",")))
		default:
			options[name], first[name] = values, where
		}
	}
	return options, invalid.Join(errs...)
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
