// Package journal keeps a rollout's record in the cluster: one ConfigMap per
// target, written before each act and compare-and-swapped by resourceVersion,
// so that any process on any machine can take the rollout further or back.
// Start at Store.
package journal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

const (
	recordKey = "record.json"
	// maxBytes bounds a record: far below etcd's 1.5 MiB, and what a person
	// can still read.
	maxBytes = 256 << 10
	// maxName is the longest name of a ConfigMap (RFC 1123 subdomain).
	maxName = 253
	// saveAttempts bounds how often a save is repeated after a conflict that
	// was not about the record itself.
	saveAttempts = 10
)

// ErrNone says that no rollout of this target was ever recorded.
var ErrNone = errors.New("no rollout is recorded")

// Store reads and writes the record of one target. It is used from one
// goroutine.
type Store struct {
	client typedcorev1.ConfigMapInterface
	name   string
	seen   *corev1.ConfigMap
}

// Name is the journal's ConfigMap for TYPE/NAME: infer-TYPE-NAME, with a hashed
// tail when that would be too long.
func Name(kind, name string) string {
	full := "infer-" + strings.ToLower(kind) + "-" + name
	if len(full) <= maxName {
		return full
	}
	sum := sha256.Sum256([]byte(full))
	tail := "-" + hex.EncodeToString(sum[:6])
	return strings.TrimRight(full[:maxName-len(tail)], "-.") + tail
}

// New is the store for the target kind/name in namespace.
func New(core kubernetes.Interface, namespace, kind, name string) *Store {
	return &Store{client: core.CoreV1().ConfigMaps(namespace), name: Name(kind, name)}
}

// Name of the ConfigMap.
func (s *Store) Name() string { return s.name }

// Load reads the record; ErrNone when there is none.
func (s *Store) Load(ctx context.Context) (rollout.Record, error) {
	cm, err := s.client.Get(ctx, s.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		s.seen = nil
		return rollout.Record{}, ErrNone
	}
	if err != nil {
		return rollout.Record{}, fmt.Errorf("get journal configmap %s: %w", s.name, err)
	}
	s.seen = cm
	if cm.Data[recordKey] == "" {
		return rollout.Record{}, ErrNone
	}
	return Decode([]byte(cm.Data[recordKey]))
}

// Decode reads a record of a format this build knows; a newer one is refused.
func Decode(raw []byte) (rollout.Record, error) {
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return rollout.Record{}, fmt.Errorf("read journal: %w", err)
	}
	if head.Format != rollout.RecordFormat {
		return rollout.Record{}, hint.Errorf("use the kubectl-infer version that began this rollout, or a newer one",
			"read journal: format %d is not known to this build, which writes %d", head.Format, rollout.RecordFormat)
	}
	var record rollout.Record
	if err := json.Unmarshal(raw, &record); err != nil {
		return rollout.Record{}, fmt.Errorf("read journal: %w", err)
	}
	return record, nil
}

// Save writes record if nobody else wrote in between. When the stored record
// belongs to another run or epoch it returns rollout.ErrSuperseded. A write
// whose answer was lost is recognised by its write number and not repeated.
func (s *Store) Save(ctx context.Context, record rollout.Record) error {
	raw, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("encode journal: %w", err)
	}
	if len(raw) > maxBytes {
		return fmt.Errorf("journal configmap %s: record of %d bytes is over the limit of %d", s.name, len(raw), maxBytes)
	}
	for range saveAttempts {
		err = s.put(ctx, string(raw))
		if err == nil {
			return nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
			return fmt.Errorf("write journal configmap %s: %w", s.name, err)
		}
		stored, loadErr := s.Load(ctx)
		if errors.Is(loadErr, ErrNone) {
			continue
		}
		if loadErr != nil {
			return loadErr
		}
		if done, judgeErr := judge(stored, record); done || judgeErr != nil {
			return judgeErr
		}
	}
	return fmt.Errorf("write journal configmap %s: %w", s.name, err)
}

// judge compares what is stored with what we tried to write after a conflict.
func judge(stored, ours rollout.Record) (done bool, err error) {
	switch {
	case stored.Run == ours.Run && stored.Epoch == ours.Epoch && stored.Write >= ours.Write:
		return true, nil
	case stored.Epoch >= ours.Epoch:
		return false, fmt.Errorf("journal is at epoch %d of run %s, ours is %d: %w", stored.Epoch, stored.Run, ours.Epoch, rollout.ErrSuperseded)
	}
	return false, nil
}

func (s *Store) put(ctx context.Context, raw string) error {
	if s.seen == nil {
		created, err := s.client.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: s.name, Labels: map[string]string{"app.kubernetes.io/managed-by": "kubectl-infer"}},
			Data:       map[string]string{recordKey: raw},
		}, metav1.CreateOptions{FieldManager: "kubectl-infer"})
		if err == nil {
			s.seen = created
		}
		return err
	}
	cm := s.seen.DeepCopy()
	if cm.Data == nil {
		cm.Data = map[string]string{}
	}
	cm.Data[recordKey] = raw
	updated, err := s.client.Update(ctx, cm, metav1.UpdateOptions{FieldManager: "kubectl-infer"})
	if err == nil {
		s.seen = updated
	}
	return err
}
