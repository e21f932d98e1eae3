package train

import (
	"testing"
)

// FuzzTrainState reads any bytes as the JSON of a state: what it accepts is a place from which losses can be averaged on.
func FuzzTrainState(f *testing.F) {
	f.Add([]byte(`{"format": 1, "current_epoch": 2, "current_batch": 1, "current_step": 4, "scheduler_step": 3, "rate_scale": 0.5, "scaler": {"Exponent": -1, "Good": 2},
		"average_loss": {"losses": [0.5, 0.25], "next": 1, "sum": 0.75}, "optimizer": {"steps": 3}, "saved_at": "2026-02-15T12:34:56Z", "settings": {"seed": "42"}, "pictures": [{"name": "a"}]}`))
	f.Add([]byte(`{"current_epoch": 1, "current_step": 3}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s trainState
		if s.parse(data) != nil {
			return
		}
		if s.Epoch < 1 || s.Batch < 0 || s.Step < s.Advanced || s.RateScale != 1 && s.RateScale != rollBackFactor {
			t.Errorf("%q gives %+v", data, s)
		}
		for range 3 {
			s.Average.add(1, max(1, len(s.Average.Losses)))
			s.Average.add(1, len(s.Average.Losses)+1)
		}
		if err := s.identity.differences(s.identity); err != nil {
			t.Errorf("a training differs from itself: %v", err)
		}
	})
}
