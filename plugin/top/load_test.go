package top

import (
	"errors"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
)

func look(at time.Time, started, ended, failed float64) looked {
	return looked{at: at, pools: []poolLook{{namespace: "default", name: "qwen", says: evidence.Survey{
		Pickers: []evidence.PickerSays{{Pod: "p1", Models: []evidence.ModelLoad{{Model: "a", Started: started, Ended: ended, Failed: failed, Active: 4}}}},
		Servers: []evidence.ServerSays{{Pod: "s1", Ready: true, Running: 4, KVUse: 0.5}, {Pod: "s2", KVUse: -1, Problem: errors.New("refused")}},
	}}}}
}

func TestRatesAreWhatWasCountedBetweenTwoLooks(t *testing.T) {
	t.Parallel()
	began := time.Unix(0, 0)
	tests := map[string]struct {
		before, now looked
		want        modelRow
	}{
		"twenty requests in two seconds":           {look(began, 100, 90, 1), look(began.Add(2*time.Second), 120, 100, 2), modelRow{Rate: 10, Ended: 10, Failed: 1, Running: 4}},
		"a picker that began anew adds nothing":    {look(began, 100, 90, 1), look(began.Add(time.Second), 5, 4, 0), modelRow{Running: 4}},
		"a picker that was not there adds nothing": {looked{at: began}, look(began.Add(time.Second), 5, 4, 0), modelRow{Running: 4}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.want.Pool, tt.want.Model = "default/qwen", "a"
			if got := load(tt.before, tt.now).Models; len(got) != 1 || got[0] != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestAPodThatCannotBeReadIsNotIdle(t *testing.T) {
	t.Parallel()
	d := load(looked{}, look(time.Unix(9, 0), 1, 1, 0))
	if len(d.Pods) != 2 || d.Pods[1].cells()[0] != "?" || len(d.Problems) != 1 {
		t.Errorf("%+v", d)
	}
	if d.Pods[0].cells()[2] != "50%" || d.Pods[1].KVCache != nil {
		t.Errorf("%+v", d.Pods)
	}
}
