package kohya

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// others are trainers that people come from, by what the files they save have and files of sd-scripts and its GUI have not.
var others = []struct {
	program string
	is      func(tree map[string]any) bool
}{
	{"LoRA_Easy_Training_Scripts, which has sections such as [network_args.args]", func(tree map[string]any) bool {
		for _, value := range tree {
			if section, ok := value.(map[string]any); ok && (is[map[string]any](section["args"]) || is[map[string]any](section["dataset_args"])) {
				return true
			}
		}
		return false
	}},
	{"OneTrainer", has("training_method", "concept_file_name", "__version")},
	{"diffusion-pipe", func(tree map[string]any) bool {
		adapter, _ := tree["adapter"].(map[string]any)
		return adapter["type"] != nil && is[map[string]any](tree["model"])
	}},
	{"SimpleTuner", has("--model_type", "--model_family", "model_family")},
	{"EveryDream2", has("data_root")},
}

// has recognises files by any of a few keys.
func has(keys ...string) func(tree map[string]any) bool {
	return func(tree map[string]any) bool {
		return slices.ContainsFunc(keys, func(key string) bool { _, ok := tree[key]; return ok })
	}
}

// foreign reports that a file is another trainer's, and which of its settings are options here.
func foreign(tree map[string]any) error {
	for _, other := range others {
		if !other.is(tree) {
			continue
		}
		const mend = "set here what it says with sd-scripts' options"
		if found := settingsIn(tree); len(found) > 0 {
			return fmt.Errorf("this is a file of another trainer, %s; %s, among them %.2000s", other.program, mend, strings.Join(found, ", "))
		}
		return fmt.Errorf("this is a file of another trainer, %s; %s", other.program, mend)
	}
	return nil
}

// settingsIn lists what is an option here, whatever tables it is in, with its value.
func settingsIn(tree map[string]any) (list []string) {
	for _, key := range slices.Sorted(maps.Keys(tree)) {
		if inner, ok := tree[key].(map[string]any); ok {
			list = append(list, settingsIn(inner)...)
			continue
		}
		name := strings.TrimLeft(key, "-")
		name = cmp.Or(renamed[name], name)
		if values, err := texts(tree[key]); err == nil && len(values) == 1 && values[0] != "" && rows[name] != nil {
			list = append(list, fmt.Sprintf("%s %.100s", name, values[0]))
		}
	}
	return list
}

// commandLine is what a text that starts a program has in it, alone or in a script.
var commandLine = regexp.MustCompile(`(?m)^(#!|--\w|@echo|.*(accelerate(\.exe)? launch|train_network\.py).*)`)

// foreignText reports that a file which cannot be read is in a form that other trainers use.
func foreignText(data []byte) error {
	for _, begin := range []string{"---", "job:", "config:", "compute_environment:"} {
		if bytes.HasPrefix(data, []byte(begin)) {
			return errors.New("this is YAML, as ai-toolkit and accelerate write it; want TOML or JSON with sd-scripts' options")
		}
	}
	if commandLine.Match(data) {
		return errors.New("this is a command line; give its options, which begin with --, on the command line")
	}
	return nil
}
