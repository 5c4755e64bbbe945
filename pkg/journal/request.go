package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// maxRequests bounds what a journal holds of requests nobody obeyed.
const maxRequests = 16

// Requests implements rollout.Journal. It leaves the version that Save tests
// as it is, so that a record written by somebody else is still noticed.
func (s *Book[R]) Requests(ctx context.Context) ([]rollout.Request, error) {
	cm, err := s.client.Get(ctx, s.name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("get journal configmap %s: %w", s.name, err)
	}
	return decodeRequests(cm.Data[requestKey])
}

func decodeRequests(raw string) ([]rollout.Request, error) {
	if raw == "" {
		return nil, nil
	}
	var list []rollout.Request
	if err := json.Unmarshal([]byte(raw), &list); err != nil {
		return nil, fmt.Errorf("read requests in journal: %w", err)
	}
	return list, nil
}

// errAgain says that the list changed under us.
var errAgain = errors.New("the requests changed")

// Ask appends a request to the journal last loaded. Asking for what is asked
// already changes nothing; the request that will be obeyed is returned.
func (s *Book[R]) Ask(ctx context.Context, record R, q rollout.Request) (rollout.Request, error) {
	mark := record.Mark()
	for range saveAttempts {
		list, err := decodeRequests(s.value(requestKey))
		if err != nil {
			return q, err
		}
		q.Run, q.Seq = mark.Run, mark.Obeyed+1
		var open []rollout.Request
		for _, old := range list {
			q.Seq = max(q.Seq, old.Seq+1)
			if old.Run == mark.Run && old.Seq > mark.Obeyed {
				open = append(open, old)
			}
		}
		if n := len(open); n > 0 && open[n-1].Wish == q.Wish {
			return open[n-1], nil
		}
		if open = append(open, q); len(open) > maxRequests {
			return q, fmt.Errorf("journal configmap %s: %d requests wait already and nobody obeys them", s.name, maxRequests)
		}
		raw, err := json.Marshal(open)
		if err != nil {
			return q, fmt.Errorf("encode requests: %w", err)
		}
		err = s.update(ctx, requestKey, string(raw), func(stored string) error {
			if stored == string(raw) {
				return errDone
			}
			return errAgain
		})
		if !errors.Is(err, errAgain) {
			return q, err
		}
	}
	return q, fmt.Errorf("write requests to journal configmap %s: %w", s.name, errAgain)
}

// Empty forgets a finished run, its requests included. The epoch stays, so that
// a process that slept through all of it can never write again; so does the
// record of another kind of run.
func (s *Book[R]) Empty(ctx context.Context, record R) error {
	if s.seen == nil {
		return nil
	}
	cm := s.seen.DeepCopy()
	before, _ := strconv.ParseInt(s.value(epochKey), 10, 64)
	delete(cm.Data, s.key)
	delete(cm.Data, requestKey)
	if cm.Data == nil {
		cm.Data = map[string]string{}
	}
	cm.Data[epochKey] = strconv.FormatInt(max(before, record.Mark().Epoch), 10)
	updated, err := s.client.Update(ctx, cm, metav1.UpdateOptions{FieldManager: Manager})
	if err != nil {
		return fmt.Errorf("empty journal configmap %s: %w", s.name, err)
	}
	s.seen = updated
	return nil
}
