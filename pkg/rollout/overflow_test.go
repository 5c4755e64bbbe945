package rollout

import (
	"testing"
	"time"
)

func TestAStepsRowTellsOverflowsOfABreakerApart(t *testing.T) {
	t.Parallel()
	var s State
	for i := range 3 {
		sample := Sample{Canary: Arm{Started: 10, Finished: 10, Overflows: 4}, Stable: Arm{Started: 90, Overflows: 1}}
		s = count(s, Observation{Now: time.Unix(int64(i), 0), Sample: &sample}, Finding{})
	}
	row := s.Watch.Step
	if row.CanaryOverflows != 12 || row.StableOverflows != 3 || row.Requests != 30 {
		t.Errorf("%+v", row)
	}
	blind := Sample{Canary: Arm{Blind: "down", Overflows: 4}}
	if s = count(s, Observation{Now: time.Unix(9, 0), Sample: &blind}, Finding{}); s.Watch.Step.CanaryOverflows != 12 {
		t.Errorf("a look that saw nothing counted %d", s.Watch.Step.CanaryOverflows)
	}
}
