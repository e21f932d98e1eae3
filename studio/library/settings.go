package library

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/atelier-go/atelier/internal/atomicfile"
	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/invalid"
)

// maxSettings is the most bytes that all settings may have as JSON.
const maxSettings = 1 << 20

// Settings are the web UI's options, those of [KnownSettings] and whatever else programs left there. They are kept in config.json, which is
// replaced whole. Their methods may be called from several goroutines.
type Settings struct {
	path    string // "" keeps them in memory
	skipped []error

	mu     sync.Mutex
	values map[string]any // that were set
}

// openSettings reads a file of settings; one that is not there has none.
func openSettings(path string) (*Settings, error) {
	s := &Settings{path: path, values: make(map[string]any)}
	if path == "" {
		return s, nil
	}
	data, err := openfile.ReadFile(path, maxSettings)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	var values map[string]any
	if err := json.Unmarshal(data, &values); err != nil {
		return nil, fmt.Errorf("%s: %w; mend it, or take it away to begin with defaults", path, err)
	}
	for name, v := range values {
		v, err := CheckSetting(name, v)
		if err != nil {
			s.skipped = append(s.skipped, fmt.Errorf("%s: %w", path, err))
			continue
		}
		s.values[name] = v
	}
	return s, nil
}

// setting is the known one of a name.
func setting(name string) (Setting, bool) {
	at := slices.IndexFunc(settingsTable, func(s Setting) bool { return s.Name == name })
	if at < 0 {
		return Setting{}, false
	}
	return settingsTable[at], true
}

// CheckSetting is a value as it is kept under a name, of the known setting's type. What cannot be that is an *[invalid.FieldError] of
// "Settings.NAME". Under unknown names everything is kept as it is.
func CheckSetting(name string, value any) (any, error) {
	known, ok := setting(name)
	if !ok {
		return value, nil
	}
	if value == nil {
		return known.Default, nil
	}
	refuse := func(want string, args ...any) (any, error) {
		return nil, invalid.Field("Settings."+name, value, want, args...)
	}
	switch known.Default.(type) {
	case bool:
		if v, ok := value.(bool); ok {
			return v, nil
		}
		return refuse("true or false")
	case int:
		if v, ok := number(value); ok && v == math.Trunc(v) && math.Abs(v) <= 1<<53 {
			return int(v), nil
		}
		return refuse("a whole number")
	case float64:
		if v, ok := number(value); ok {
			return v, nil
		}
		return refuse("a number")
	case []string:
		if v, ok := texts(value); ok {
			return v, nil
		}
		return refuse("a list of texts")
	}
	v, ok := value.(string)
	if !ok {
		return refuse("a text")
	}
	if known.Choices != nil && !slices.Contains(known.Choices, v) {
		return refuse("one of %s", strings.Join(known.Choices, ", "))
	}
	return v, nil
}

// number is a value as a finite number.
func number(value any) (v float64, ok bool) {
	switch n := value.(type) {
	case float64:
		v, ok = n, true
	case int:
		v, ok = float64(n), true
	case json.Number:
		f, err := n.Float64()
		v, ok = f, err == nil
	}
	return v, ok && !math.IsNaN(v) && !math.IsInf(v, 0)
}

// texts is a value as a list of texts.
func texts(value any) (list []string, ok bool) {
	if list, ok := value.([]string); ok {
		return list, true
	}
	all, ok := value.([]any)
	list = make([]string, 0, len(all))
	for _, one := range all {
		text, is := one.(string)
		list, ok = append(list, text), ok && is
	}
	return list, ok
}

// Get is a setting's value, or its default; nil if it is unknown.
func (s *Settings) Get(name string) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.values[name]; ok {
		return v
	}
	known, _ := setting(name)
	return known.Default
}

// Text is the value of a setting that is a text; "" if it is none.
func (s *Settings) Text(name string) string {
	v, _ := s.Get(name).(string)
	return v
}

// Bool is the value of a setting that is a switch; false if it is none.
func (s *Settings) Bool(name string) bool {
	v, _ := s.Get(name).(bool)
	return v
}

// Number is the value of a setting that is a number; 0 if it is none.
func (s *Settings) Number(name string) float64 {
	v, _ := number(s.Get(name))
	return v
}

// All are all settings, the known ones and others that were set.
func (s *Settings) All() map[string]any {
	all := make(map[string]any, len(settingsTable))
	for _, known := range settingsTable {
		all[known.Name] = known.Default
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(all, s.values)
	return all
}

// Set changes settings, all or, if one cannot have its value, none, and saves them. Everything wrong is told together.
func (s *Settings) Set(values map[string]any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := s.changed(values)
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(all, "", "    ")
	if err == nil && len(data) > maxSettings {
		err = invalid.Field("Settings", len(data), "up to %d bytes of all settings together", maxSettings)
	}
	if err == nil && s.path != "" {
		err = atomicfile.WriteFile(s.path, append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("library: saving settings: %w", err)
	}
	s.values = all
	return nil
}

// With are the settings with others in place of some, for one request: they are saved by nobody.
func (s *Settings) With(values map[string]any) (*Settings, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := s.changed(values)
	if err != nil {
		return nil, err
	}
	return &Settings{values: all}, nil
}

// changed is a copy of what was set with other values.
func (s *Settings) changed(values map[string]any) (map[string]any, error) {
	all, errs := maps.Clone(s.values), []error(nil)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		v, err := CheckSetting(name, values[name])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all[name] = v
	}
	return all, invalid.Join(errs...)
}
