package lora

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// extension is that of the files written.
const extension = ".safetensors"

// checkOutput makes the folder of the files and sees whether they can be written there, before hours of work.
func (c TrainConfig) checkOutput() error {
	if c.OutputDir == "" {
		return errors.New("lora: output_dir is empty; name the folder to save in")
	}
	if c.OutputName != filepath.Base(c.OutputName) || strings.ContainsAny(c.OutputName, `/\`) {
		return fmt.Errorf("lora: output_name is %q; want a file's name without folder and extension, such as personname_lora_v1", c.OutputName)
	}
	if err := os.MkdirAll(c.OutputDir, 0o777); err != nil {
		return fmt.Errorf("lora: output_dir: %w; name a folder that can be written to", err)
	}
	probe, err := os.CreateTemp(c.OutputDir, ".atelier-*")
	if err != nil {
		return fmt.Errorf("lora: output_dir: %w; name a folder that can be written to", err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// path is the final file.
func (c TrainConfig) path() string { return filepath.Join(c.OutputDir, c.OutputName+extension) }

// epochPath is the file after an epoch.
func (c TrainConfig) epochPath(epoch int) string {
	return filepath.Join(c.OutputDir, fmt.Sprintf("%s-%06d%s", c.OutputName, epoch, extension))
}

// stepPath is the file after a step.
func (c TrainConfig) stepPath(step int) string {
	return filepath.Join(c.OutputDir, fmt.Sprintf("%s-step%08d%s", c.OutputName, step, extension))
}

// afterEpoch tells which file is written after an epoch that is not the last, and which then goes; "" is none.
func (c TrainConfig) afterEpoch(epoch int) (write, remove string) {
	every := c.SaveEveryNEpochs
	if every == 0 || epoch%every != 0 {
		return "", ""
	}
	if old := epoch - every*c.SaveLastNEpochs; c.SaveLastNEpochs > 0 && old > 0 {
		remove = c.epochPath(old)
	}
	return c.epochPath(epoch), remove
}

// afterStep is afterEpoch for a step.
func (c TrainConfig) afterStep(step int) (write, remove string) {
	every := c.SaveEveryNSteps
	if every == 0 || step%every != 0 {
		return "", ""
	}
	if old := (step - c.SaveLastNSteps - 1) / every * every; c.SaveLastNSteps > 0 && old > 0 {
		remove = c.stepPath(old)
	}
	return c.stepPath(step), remove
}

// saveEpoch saves what an epoch calls for.
func (r *run) saveEpoch(epoch int) error {
	write, remove := r.afterEpoch(epoch)
	return r.replace(write, remove, epoch)
}

// saveStep saves what the step calls for, and returns the file.
func (r *run) saveStep() (path string, err error) {
	write, remove := r.afterStep(r.step)
	return write, r.replace(write, remove, r.epochsDone())
}

// replace writes a file and then removes another; "" is none.
func (r *run) replace(write, remove string, epoch int) error {
	if write == "" {
		return nil
	}
	if err := r.save(write, epoch); err != nil {
		return err
	}
	if remove == "" {
		return nil
	}
	if err := os.Remove(remove); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("lora: %w", err)
	}
	return nil
}

// save writes what is learned so far.
func (r *run) save(path string, epoch int) error {
	modules, err := r.trainer.Modules()
	if err != nil {
		return err
	}
	return Write(path, modules, r.SavePrecision, r.metadata(epoch))
}
