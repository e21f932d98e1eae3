package train

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/weights"
)

// identity tells trainings apart that come to different results.
type identity struct {
	// Settings are the options that are not zero and change the result, by their names in sd-scripts.
	Settings map[string]string `json:"settings"`
	Pictures []pictureIdentity `json:"pictures"`
}

// pictureIdentity is a picture as it is learned.
type pictureIdentity struct {
	Name    string `json:"name"` // folder and file
	Sum     string `json:"sha256"`
	Caption string `json:"caption"`
}

// resume goes on from the state of Config.Resume.
func (r *run) resume() error {
	if r.config.Resume == "" {
		return nil
	}
	if err := r.restore(r.config.Resume); err != nil {
		return &invalid.FieldError{Field: "Config.Resume", Err: err}
	}
	return nil
}

// restore puts the training where a state of it is.
func (r *run) restore(dir string) error {
	if err := foreignState(dir); err != nil {
		return err
	}
	s, all, err := readState(dir)
	if err != nil {
		return err
	}
	if err := s.identity.differences(r.identity); err != nil {
		return fmt.Errorf("%s belongs to another training. Take its options and pictures, or begin anew with its %s as Config.NetworkWeights:\n%w", dir, modelFile, err)
	}
	if err := r.fitLength(&s); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if steps := r.dataset.Steps(); s.Epoch > steps.Epochs+1 || s.Batch > steps.BatchesPerEpoch ||
		s.Step != min(steps.Total, (s.Epoch-1)*steps.StepsPerEpoch+ceilDiv(s.Batch, max(1, r.config.Trainer.Accumulation))) {
		return fmt.Errorf("%s: step %d of %d is not that of batch %d of epoch %d; take an earlier state", dir, s.Step, steps.Total, s.Batch, s.Epoch)
	}
	if (s.Scaler == nil) != (r.at.Scaler == nil) {
		return fmt.Errorf("%s: the scaler of fp16 is missing or too much; take an earlier state", dir)
	}
	if err := r.trainer.Restore(all); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	r.at, r.session, r.started, r.saver.lastState = s.position, s.Session, s.Started, dir
	return nil
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// identify describes the training.
func (r *run) identify() error {
	r.identity = identity{Settings: make(map[string]string)}
	collectSettings("", reflect.ValueOf(r.config), r.identity.Settings)
	if r.config.Dataset.CacheLatents || r.config.Dataset.CacheLatentsToDisk {
		r.identity.Settings["cache_latents"] = "true"
	}
	var err error
	if r.config.NetworkWeights != "" {
		if r.identity.Settings["network_weights"], err = lora.DataHash(r.config.NetworkWeights); err != nil {
			return &invalid.FieldError{Field: "Config.NetworkWeights", Err: err}
		}
	}
	if r.identity.Settings["the base model's weights"], err = checkpointDigest(r.config.Checkpoint); err != nil {
		return fmt.Errorf("lora: %w", err)
	}
	for _, p := range r.dataset.Pictures() {
		id := pictureIdentity{Name: filepath.Base(filepath.Dir(p.Path)) + "/" + filepath.Base(p.Path), Caption: p.Caption}
		if id.Sum, err = p.Digest(); err != nil {
			return fmt.Errorf("lora: %w", err)
		}
		r.identity.Pictures = append(r.identity.Pictures, id)
	}
	return nil
}

// sampledBytes is how much of each tensor tells a checkpoint from others: training changes all of its weights.
const sampledBytes = 4096

// checkpointDigest is one of the beginnings of all tensors of a checkpoint.
func checkpointDigest(c *weights.Checkpoint) (string, error) {
	text, err1 := c.TextEncoder()
	net, err2 := c.UNet()
	codec, err3 := c.VAE()
	if err := errors.Join(err1, err2, err3); err != nil {
		return "", err
	}
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	for _, component := range []*weights.Component{text, net, codec} {
		for _, name := range component.Names() {
			typ, err1 := component.ParamType(name)
			data, err2 := compute.OpenParam(component, name)
			if err := errors.Join(err1, err2); err != nil {
				return "", err
			}
			fmt.Fprintln(h, name, typ.Bytes())
			if _, err := io.Copy(h, io.NewSectionReader(data, 0, min(int64(typ.Bytes()), sampledBytes))); err != nil {
				return "", err
			}
		}
	}
	return fmt.Sprintf("%08x", h.Sum32()), nil
}

// collectSettings lists the options in the fields of a struct by their keys, but for those tagged resume:"-", which change no
// result: where things are, what is saved and drawn besides, and how memory is spent. Paths of pictures and weights are there
// as what they hold.
func collectSettings(prefix string, options reflect.Value, into map[string]string) {
	for field, value := range options.Fields() {
		if !field.IsExported() || field.Tag.Get("json") == "-" || field.Tag.Get("resume") == "-" {
			continue
		}
		inside := prefix
		if !field.Anonymous && prefix != "" {
			inside += settingName(field) + "."
		}
		collectSetting(inside, prefix+settingName(field), value, into)
	}
}

// collectSetting lists an option, or those inside of it with a prefix.
func collectSetting(inside, name string, v reflect.Value, into map[string]string) {
	_, prints := v.Interface().(fmt.Stringer)
	switch kind := v.Kind(); {
	case kind == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		for i := range v.Len() {
			element := fmt.Sprintf("%s[%d]", name, i)
			collectSetting(element+".", element, v.Index(i), into)
		}
	case kind == reflect.Pointer && !v.IsNil():
		into[name] = fmt.Sprint(v.Elem())
	case kind == reflect.Struct && !prints:
		collectSettings(inside, v, into)
	case !v.IsZero():
		into[name] = fmt.Sprint(v)
	}
}

// settingName is the key of a field; a section of the configuration has none.
func settingName(field reflect.StructField) string {
	key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	return key
}

// lengths are the settings in which a training may differ from the one that it goes on with.
var lengths = []string{"max_train_epochs", "max_train_steps"}

// differences names what of a state's training is otherwise now, but for its length.
func (was identity) differences(now identity) error {
	errs := compare("", was.Settings, now.Settings, "unset")
	type pictures struct{ sums, captions map[string]string }
	list := func(id identity) (p pictures) {
		p = pictures{make(map[string]string), make(map[string]string)}
		for _, one := range id.Pictures {
			name := one.Name
			for n := 2; p.sums[name] != ""; n++ { // in two folders of one name
				name = fmt.Sprint(one.Name, " ", n)
			}
			p.sums[name], p.captions[name] = "of SHA-256 "+one.Sum, fmt.Sprintf("%q", one.Caption)
		}
		return p
	}
	before, after := list(was), list(now)
	errs = append(errs, compare("picture ", before.sums, after.sums, "not there")...)
	errs = append(errs, compare("the caption of ", before.captions, after.captions, "")...)
	if len(errs) == 0 && !slices.Equal(was.Pictures, now.Pictures) {
		errs = append(errs, errors.New("the folders are in another order"))
	}
	if more := len(errs) - maxComplaints; more > 0 {
		errs = append(errs[:maxComplaints], fmt.Errorf("and %d more", more))
	}
	return errors.Join(errs...)
}

// compare names the keys with other values. If missing is "" only keys that both have count.
func compare(what string, was, now map[string]string, missing string) (errs []error) {
	keys := make(map[string]string)
	maps.Copy(keys, was)
	maps.Copy(keys, now)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if slices.Contains(lengths, key) {
			continue
		}
		a, hadIt := was[key]
		b, hasIt := now[key]
		if hadIt == hasIt && a == b || missing == "" && hadIt != hasIt {
			continue
		}
		if !hadIt {
			a = missing
		}
		if !hasIt {
			b = missing
		}
		errs = append(errs, fmt.Errorf("%s%.200s is %.200s, in the state %.200s", what, key, b, a))
	}
	return errs
}
