package train

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/atelier-go/atelier/internal/optim"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/lora/dataset"
)

// makeSchedule makes the schedule of the training, and warns of a warm-up without effect or without an end.
func (r *run) makeSchedule() (err error) {
	total := r.dataset.Steps().Total
	if r.schedule, err = r.scheduleOf(total); err != nil {
		return err
	}
	if count, _ := optim.Count(r.config.LRWarmupSteps, total); count > r.schedule.Warmup {
		r.remark(fmt.Sprintf("Config.LRWarmupSteps %s is ignored: Config.LRScheduler constant has none; constant_with_warmup has", r.config.LRWarmupSteps))
	}
	if r.schedule.Warmup >= total {
		r.remark(fmt.Sprintf("Config.LRWarmupSteps %s makes a warm-up of %d steps, but the training has %d: learning rates come to %.3g %% of what they are to be; 10%% of the steps are usual",
			r.config.LRWarmupSteps, r.schedule.Warmup, total, 100*r.schedule.Factor(total-1)))
	} else if r.schedule.Type == optim.WarmupStableDecay && r.schedule.Warmup+r.schedule.Decay > total {
		r.remark(fmt.Sprintf("Config.LRWarmupSteps and Config.LRDecaySteps make %d and %d steps, but the training has %d: learning rates jump where the one ends in the other; lower them",
			r.schedule.Warmup, r.schedule.Decay, total))
	}
	return nil
}

// scheduleOf makes the schedule that the options mean in a training of so many steps.
func (r *run) scheduleOf(total int) (optim.Schedule, error) {
	warmup, err1 := optim.Count(r.config.LRWarmupSteps, total)
	decay, err2 := optim.Count(r.config.LRDecaySteps, total)
	if err1 != nil {
		err1 = &invalid.FieldError{Field: "Config.LRWarmupSteps", Err: err1}
	}
	if err2 != nil {
		err2 = &invalid.FieldError{Field: "Config.LRDecaySteps", Err: err2}
	}
	if r.config.LRScheduler == "" || r.config.LRScheduler == string(optim.Constant) {
		warmup = 0
	}
	s := optim.Schedule{
		Type: optim.ScheduleType(r.config.LRScheduler), Steps: total, Warmup: warmup, Decay: decay, Cycles: r.config.LRSchedulerNumCycles,
		Power: r.config.LRSchedulerPower, Timescale: r.config.LRSchedulerTimescale, MinRatio: r.config.LRSchedulerMinLRRatio, LearningRate: r.config.LearningRate,
	}
	err3 := s.SetArgs(r.config.LRSchedulerArgs)
	s, err4 := r.config.Trainer.schedule(s)
	return s, errors.Join(err1, err2, err3, err4)
}

// fitLength moves a state of a training of another length to where it is in this one, and warns of what was done otherwise
// in its steps than this training would have done.
func (r *run) fitLength(s *trainState) error {
	steps, option := r.dataset.Steps(), func(name string) int {
		n, _ := strconv.Atoi(s.Settings[name])
		return n
	}
	was := dataset.CountSteps(steps.BatchesPerEpoch, r.config.Trainer.Accumulation, option("max_train_epochs"), option("max_train_steps")).Total
	if was == steps.Total {
		return nil
	}
	if s.Step > steps.Total {
		return fmt.Errorf("the state is of step %d, but the training ends at step %d; raise Config.Dataset.MaxTrainEpochs or Config.Dataset.MaxTrainSteps, or take an earlier state", s.Step, steps.Total)
	}
	if s.Step < min(steps.Total, (s.Epoch-1)*steps.StepsPerEpoch) { // what was its last epoch ended early
		s.Epoch, s.Batch = s.Step/steps.StepsPerEpoch+1, s.Step%steps.StepsPerEpoch*max(1, r.config.Trainer.Accumulation)
	}
	before, err := r.scheduleOf(was)
	if err != nil {
		return err
	}
	for step := range s.Advanced {
		if before.Factor(step) != r.schedule.Factor(step) {
			r.remark(fmt.Sprintf("Config.Resume: the state is of a training of %d steps, this one has %d: Config.LRScheduler %s gave its steps other learning rates than it would here; from here on they are those of %d steps",
				was, steps.Total, r.schedule.Type, steps.Total))
			break
		}
	}
	if r.warmsTokensUp() {
		r.remark(fmt.Sprintf("Config.Resume: the state is of a training of %d steps, this one has %d, of which TokenWarmupStep of captions is a part: captions were longer or shorter in its steps than they would be here", was, steps.Total))
	}
	return nil
}

// warmsTokensUp reports whether captions depend on the length of the training.
func (r *run) warmsTokensUp() bool {
	for _, set := range r.config.Dataset.Sets {
		for _, folder := range append(set.Subsets, set.Folder) {
			if part := folder.TokenWarmupStep; part > 0 && part < 1 {
				return true
			}
		}
	}
	return false
}
