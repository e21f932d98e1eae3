package kohya

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/atelier-go/atelier/internal/python"
	"github.com/atelier-go/atelier/invalid"
)

// isGUI reports whether a file holds the GUI's form: keys that no option is called. A config_file that the GUI wrote has
// some of its keys too, and none of these.
func isGUI(tree map[string]any) bool {
	for _, key := range []string{"LoRA_type", "max_resolution", "optimizer", "lr_warmup", "additional_parameters"} {
		if _, ok := tree[key]; ok {
			return true
		}
	}
	return false
}

// guiForm is what the fields of an empty form hold, where that is not what sd-scripts would take.
var guiForm = map[string]string{
	"LoRA_type": "Standard", "output_name": "last", "save_precision": "fp16", "mixed_precision": "fp16",
	"epoch": "1", "max_train_steps": "1600", "save_every_n_epochs": "1", "caption_extension": ".txt", "cache_latents": "true",
	"lr_scheduler": "cosine", "lr_warmup": "10", "optimizer": "AdamW", "learning_rate": "0.0001", "unet_lr": "0.0001",
	"text_encoder_lr": "0.0001", "max_resolution": "512,512", "enable_bucket": "true", "max_bucket_reso": "2048",
	"bucket_no_upscale": "true", "network_dim": "8", "conv_dim": "1", "conv_alpha": "1", "clip_skip": "1",
	"max_timestep": "1000", "noise_offset_type": "Original", "sample_sampler": "euler_a",
}

// guiNames are keys of the form that are options of other names.
var guiNames = map[string]string{
	"max_resolution": "resolution", "optimizer": "optimizer_type", "lora_network_weights": "network_weights", "cache_latent": "cache_latents",
}

// guiArguments are keys of the form that become network_args: those of these names, but for what has a rule, and two of older forms.
var guiArguments = func() map[string]string {
	keys := map[string]string{"conv_dims": "conv_block_dims", "conv_alphas": "conv_block_alphas"}
	for _, name := range argumentNames() {
		if !guiRules[name] {
			keys[name] = name
		}
	}
	return keys
}()

// guiRatios are those that are numbers, of which 0 is dropped; in the others, which are texts, it has a meaning.
var guiRatios = words(`rank_dropout module_dropout loraplus_lr_ratio loraplus_unet_lr_ratio loraplus_text_encoder_lr_ratio`)

// guiRules are keys of the form that readGUI has a rule for.
var guiRules = words(`LoRA_type lr_warmup epoch noise_offset_type conv_dim conv_alpha additional_parameters stop_text_encoder_training sample_prompts`)

// otherModels are switches of the form that choose a model that is not Stable Diffusion 1.5.
var otherModels = words(`v2 sdxl flux1_checkbox sd3_checkbox hunyuan_image_checkbox anima_checkbox lumina_checkbox`)

// form has the fields of the GUI's form as texts.
type form map[string]string

// readGUI makes options of the form as the GUI makes a config_file of it.
func (o *Options) readGUI(tree map[string]any) error {
	f, unknown := readForm(tree)
	if err := f.check(); err != nil {
		return err
	}
	o.complete(f)
	length := o.chooseLength(f)
	f.chooseAlternatives()
	o.takeOptions(f)
	networks := o.chooseNetworks(f)
	if arguments := f.networkArgs(); len(arguments) > 0 {
		o.file["network_args"] = arguments
	}
	if field := f["sample_prompts"]; isFile(field) {
		o.file["sample_prompts"] = []string{field}
	} else if strings.TrimSpace(field) != "" {
		o.prompts = field
	}
	additional := o.readAdditional(f["additional_parameters"])
	if additional != nil {
		additional = fmt.Errorf("additional_parameters: %w", additional)
	}
	return invalid.Join(unknown, length, networks, additional)
}

func (o *Options) note(format string, args ...any) {
	o.notes = append(o.notes, fmt.Sprintf(format, args...))
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// readForm makes texts of the form's values and leaves out keys that concern the GUI, the launcher and other models.
func readForm(tree map[string]any) (form, error) {
	f := make(form)
	names := slices.Concat(optionNames(), slices.Collect(maps.Keys(guiNames)), slices.Collect(maps.Keys(guiArguments)), slices.Collect(maps.Keys(guiRules)))
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(tree)) {
		name := cmp.Or(aliases[key], key)
		values, err := texts(tree[key])
		switch known := slices.Contains(names, name) || otherModels[key]; {
		case !known && guiOnly(key):
		case !known:
			errs = append(errs, unknown(names, key, "there is no key %.60q", key))
		case err != nil:
			errs = append(errs, fmt.Errorf("%s %w", key, err))
		default:
			f[name] = strings.Join(values, " ")
		}
	}
	if f["optimizer"] == "" {
		delete(f, "optimizer")
		if set, _ := truth([]string{f["use_8bit_adam"]}); set {
			f["optimizer"] = "AdamW8bit"
		}
	}
	delete(f, "use_8bit_adam")
	return f, invalid.Join(errs...)
}

// check refuses forms of trainings that are none of a LoRA for Stable Diffusion 1.x.
func (f form) check() error {
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(otherModels)) {
		if set, _ := truth([]string{f[key]}); set {
			errs = append(errs, fmt.Errorf("%s is on, but only Stable Diffusion 1.x is trained", key))
		}
	}
	switch kind := f["LoRA_type"]; {
	case kind == "" && f["network_dim"] == "":
		errs = append(errs, errors.New("neither LoRA_type nor network_dim is there: this was not saved on the GUI's LoRA tab"))
	case kind != "" && kind != "Standard" && kind != "Kohya LoCon":
		errs = append(errs, fmt.Errorf("LoRA_type is %.60q, want Standard or Kohya LoCon, which are what is trained here", kind))
	}
	return errors.Join(errs...)
}

// complete fills in what an empty form has. Without max_train_steps, a field that older forms lack, epochs decide.
func (o *Options) complete(f form) {
	_, hasSteps := f["max_train_steps"]
	_, hasEpoch := f["epoch"]
	if !hasSteps && hasEpoch {
		f["max_train_steps"] = "0"
	}
	var missing []string
	for _, key := range slices.Sorted(maps.Keys(guiForm)) {
		if _, ok := f[key]; ok {
			continue
		}
		f[key] = guiForm[key]
		if !guiRules[key] || key == "lr_warmup" {
			missing = append(missing, cmp.Or(guiNames[key], key)+" "+guiForm[key])
		}
	}
	if len(missing) > 0 {
		o.note("not in the file, so as in the GUI's empty form: %s", strings.Join(missing, ", "))
	}
	if !hasSteps && hasEpoch {
		o.note("the file is of a GUI without max_train_steps: its epoch %s decides", f["epoch"])
	}
	if !zero(f["stop_text_encoder_training"]) {
		o.note("stop_text_encoder_training is not used, as the GUI does not either for LoRA")
	}
}

// chooseLength finds out whether epochs decide, and makes steps of the percentage of the warm-up as the GUI sends it: the
// field of steps if it is set, else a part of all. With a dataset_config of known length the percentage becomes steps at once.
func (o *Options) chooseLength(f form) error {
	epoch, err1 := python.Float(cmp.Or(f["epoch"], "0"))
	steps, err2 := python.Float(cmp.Or(f["max_train_steps"], "0"))
	percent, err3 := python.Float(cmp.Or(f["lr_warmup"], "0"))
	if steps == 0 && epoch > 0 && epoch < 1<<20 {
		o.epochs = int(epoch)
	}
	var err4 error
	switch {
	case !zero(f["lr_warmup_steps"]):
		err3 = nil // the percentage does not count
	case !(percent >= 0 && percent <= 100):
		err4 = fmt.Errorf("lr_warmup is %v, want a percentage", percent)
	case f["dataset_config"] != "" && steps > 0:
		f["lr_warmup_steps"] = strconv.FormatFloat(math.RoundToEven(percent*steps/100), 'f', 0, 64)
	default:
		f["lr_warmup_steps"] = strconv.FormatFloat(percent/100, 'g', -1, 64)
	}
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return fmt.Errorf("lr_warmup, lr_warmup_steps, epoch or max_train_steps: %w", err)
	}
	return nil
}

// chooseAlternatives leaves out the kind of noise that is not chosen, and makes switches of the kind of attention.
func (f form) chooseAlternatives() {
	unwanted := []string{"multires_noise_iterations", "multires_noise_discount"}
	if f["noise_offset_type"] == "Multires" {
		unwanted = []string{"noise_offset", "noise_offset_random_strength", "adaptive_noise_scale"}
	}
	for _, key := range unwanted {
		delete(f, key)
	}
	if x := f["xformers"]; x == "sdpa" {
		f["xformers"], f["sdpa"] = "", "true"
	} else {
		f["xformers"] = strconv.FormatBool(x == "xformers" || x == "true")
	}
}

// takeOptions takes the fields that are options, but for those that the GUI drops.
func (o *Options) takeOptions(f form) {
	o.file, o.gui = make(map[string][]string), true
	for _, key := range slices.Sorted(maps.Keys(f)) {
		name, value := cmp.Or(guiNames[key], key), f[key]
		row := rows[name]
		switch {
		case row == nil || guiRules[key] || otherModels[key] || guiArguments[key] != "":
		case !dropped(row, value):
			o.file[name] = []string{value}
		case value != "" && !zero(row.unset) && row.kind.class != isIdle && (name != "max_train_steps" || o.epochs == 0):
			o.note("%s %s: the GUI drops zeros, so that sd-scripts takes %s", name, value, row.unset)
		}
	}
}

// chooseNetworks leaves alone a network whose rate is 0.
func (o *Options) chooseNetworks(f form) error {
	switch text, unet := zero(f["text_encoder_lr"]), zero(f["unet_lr"]); {
	case text && !unet:
		o.file["network_train_unet_only"] = []string{"true"}
	case unet && !text:
		o.file["network_train_text_encoder_only"] = []string{"true"}
	case text && zero(f["learning_rate"]):
		return errors.New("learning_rate, unet_lr and text_encoder_lr are all 0; want numbers such as 0.0001")
	}
	return nil
}

// networkArgs are the fields that become network_args.
func (f form) networkArgs() (arguments []string) {
	if f["LoRA_type"] == "Kohya LoCon" {
		arguments = append(arguments, "conv_dim="+f["conv_dim"], "conv_alpha="+f["conv_alpha"])
	}
	for _, key := range slices.Sorted(maps.Keys(guiArguments)) {
		if value := f[key]; value != "" && !(guiRatios[key] && zero(value)) {
			arguments = append(arguments, guiArguments[key]+"="+value)
		}
	}
	return arguments
}

// dropped reports whether the GUI leaves a value out of its config_file: empty texts, false and zeros.
func dropped(row *option, value string) bool {
	switch row.kind.class {
	case isSwitch, isIdle, isRefused:
		set, err := truth([]string{value})
		return value == "" || err == nil && !set
	case isText:
		return value == "" || row.name == "lr_warmup_steps" && zero(value)
	}
	return zero(value)
}

// zero reports whether a text is empty or a zero.
func zero(text string) bool {
	f, err := python.Float(strings.TrimSuffix(text, "%"))
	return text == "" || err == nil && f == 0
}

// guiSteps counts steps as the GUI does from its epochs: buckets are not regarded, regularisation pictures double them.
func guiSteps(s *settings, epochs int) (steps int, how string) {
	uses := 0
	folders, _ := os.ReadDir(s.Set.TrainDataDir) // what is wrong with them the dataset will say
	for _, folder := range folders {
		number, _, _ := strings.Cut(folder.Name(), "_")
		repeats, err := strconv.Atoi(strings.TrimSpace(number))
		if err != nil || repeats < 1 || repeats > 1<<20 || !folder.IsDir() {
			continue
		}
		files, _ := os.ReadDir(filepath.Join(s.Set.TrainDataDir, folder.Name()))
		for _, file := range files {
			if slices.Contains([]string{".jpg", ".jpeg", ".png", ".webp"}, strings.ToLower(filepath.Ext(file.Name()))) {
				uses += repeats
			}
		}
	}
	factor, doubled := 1, ""
	if s.Set.RegDataDir != "" {
		factor, doubled = 2, " × 2 for reg_data_dir"
	}
	batch := max(1, s.Set.BatchSize) * max(1, s.Dataset.GradientAccumulationSteps)
	steps = int(min(math.Ceil(float64(uses)/float64(batch)*float64(epochs*factor)), 1<<30))
	return steps, fmt.Sprintf("max_train_steps %d, as the GUI counts: %d uses in batches of %d × epoch %d%s", steps, uses, batch, epochs, doubled)
}

// readAdditional reads the form's field of further command line. It comes before the form's other fields.
func (o *Options) readAdditional(line string) error {
	args, err := split(line)
	if err != nil || len(args) == 0 {
		return err
	}
	for _, arg := range args {
		if name, _, _ := flagName(arg); name == "config_file" {
			return errors.New("config_file cannot be named in a file")
		}
	}
	more := new(Options)
	f := flag.NewFlagSet("", flag.ContinueOnError)
	more.Bind(f)
	if err := more.Parse(f, args); err != nil {
		return err
	}
	maps.Copy(o.file, more.line)
	return nil
}

// split cuts a command line at blanks that are not between quotes.
func split(line string) (words []string, err error) {
	var word strings.Builder
	var quote rune
	started := false
	end := func() {
		if started {
			words = append(words, word.String())
		}
		word.Reset()
		started = false
	}
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, started = r, true
		case quote == 0 && strings.ContainsRune(" \t\r\n", r):
			end()
		default:
			word.WriteRune(r)
			started = true
		}
	}
	end()
	if quote != 0 {
		return nil, fmt.Errorf("a quote %c is not closed", quote)
	}
	return words, nil
}

// words is a set of them.
func words(list string) map[string]bool {
	set := make(map[string]bool)
	for word := range strings.FieldsSeq(list) {
		set[word] = true
	}
	return set
}
