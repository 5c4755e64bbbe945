// Package journal keeps a rollout's record in the cluster: one ConfigMap per
// target, written before each act and compare-and-swapped by resourceVersion,
// so that any process on any machine can take the rollout further or back; the
// requests people make of it, beside the record; and the Lease of the same name
// that says who is at work. A canary's record and a mirror's have a key each in
// that one ConfigMap, so that a mirror does not cost a promoted canary its undo.
// Start at Book.
package journal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/pkg/scaffold"
)

// ManagedBy is the label by which journals are found, Manager its value and
// the field manager of every write.
const (
	ManagedBy = scaffold.ManagedBy
	Manager   = scaffold.Manager
)

// RecordKey is the ConfigMap's key of a canary's record, MirrorKey that of a
// mirror's.
const (
	RecordKey = "record.json"
	MirrorKey = "mirror.json"
)

const (
	requestKey = "requests.json"
	epochKey   = "epoch"
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

// Kept is what a record must say of itself to be kept.
type Kept interface{ Mark() rollout.Mark }

// Book reads and writes the record of one target. It is used from one
// goroutine.
type Book[R Kept] struct {
	client typedcorev1.ConfigMapInterface
	name   string
	key    string
	decode func([]byte) (R, error)
	blank  func(epoch int64) R
	seen   *corev1.ConfigMap
}

// Store keeps a canary's record.
type Store = Book[rollout.Record]

// Name is the journal's ConfigMap for TYPE/NAME: infer-TYPE-NAME, with -llmd for
// a type of group llm-d.ai, and with a hashed tail when that would be too long.
func Name(kind, name string) string {
	full := "infer-" + strings.Replace(strings.ToLower(kind), ".llm-d.ai", "-llmd", 1) + "-" + name
	if len(full) <= maxName {
		return full
	}
	sum := sha256.Sum256([]byte(full))
	tail := "-" + hex.EncodeToString(sum[:6])
	return strings.TrimRight(full[:maxName-len(tail)], "-.") + tail
}

// New is the store for the target kind/name in namespace.
func New(core kubernetes.Interface, namespace, kind, name string) *Store {
	return &Store{
		client: core.CoreV1().ConfigMaps(namespace), name: Name(kind, name), key: RecordKey, decode: Decode,
		blank: func(epoch int64) rollout.Record { return rollout.Record{Epoch: epoch} },
	}
}

// Name of the ConfigMap.
func (s *Book[R]) Name() string { return s.name }

// Load reads the record. ErrNone when there is none; what it returns beside
// carries the epoch an emptied journal remembers.
func (s *Book[R]) Load(ctx context.Context) (R, error) {
	if err := s.get(ctx); err != nil {
		return s.blank(0), err
	}
	if s.value(s.key) == "" {
		epoch, _ := strconv.ParseInt(s.value(epochKey), 10, 64)
		return s.blank(epoch), ErrNone
	}
	return s.decode([]byte(s.value(s.key)))
}

// Beside is what the journal last loaded keeps under the key of another kind of
// run; nil if nothing.
func (s *Book[R]) Beside(key string) []byte {
	if raw := s.value(key); raw != "" {
		return []byte(raw)
	}
	return nil
}

// Decode reads a record of a format this build knows; a newer one is refused.
func Decode(raw []byte) (rollout.Record, error) {
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return rollout.Record{}, fmt.Errorf("read journal: %w", err)
	}
	if head.Format < 1 || head.Format > rollout.RecordFormat {
		return rollout.Record{}, hint.Errorf("use the kubectl-infer version that began this rollout, or a newer one",
			"read journal: format %d is not known to this build, which writes %d", head.Format, rollout.RecordFormat)
	}
	var record rollout.Record
	if err := json.Unmarshal(raw, &record); err != nil {
		return rollout.Record{}, fmt.Errorf("read journal: %w", err)
	}
	return record.Upgrade(), nil
}

// Save writes record if nobody else wrote one since the last Load or Save of
// this store; rollout.ErrSuperseded if somebody did. A write whose answer was
// lost is recognised by its write number and not repeated, and a conflict that
// was not about the record (a request, a label) is tried again.
func (s *Book[R]) Save(ctx context.Context, record R) error {
	raw, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("encode journal: %w", err)
	}
	if len(raw) > maxBytes {
		return fmt.Errorf("journal configmap %s: record of %d bytes is over the limit of %d", s.name, len(raw), maxBytes)
	}
	mark := record.Mark()
	return s.update(ctx, s.key, string(raw), func(stored string) error {
		found, err := s.decode([]byte(stored))
		if err != nil {
			return err
		}
		there := found.Mark()
		if there.Run == mark.Run && there.Epoch == mark.Epoch && there.Holder == mark.Holder && there.Write >= mark.Write {
			return errDone
		}
		return fmt.Errorf("journal is at epoch %d of run %s, ours is %d: %w", there.Epoch, there.Run, mark.Epoch, rollout.ErrSuperseded)
	})
}

// errDone says that a write is not needed any more.
var errDone = errors.New("already written")

// update sets one key. After a conflict the object is read again: when the key
// is as it was, the write is repeated, else changed decides.
func (s *Book[R]) update(ctx context.Context, key, value string, changed func(stored string) error) error {
	var err error
	for range saveAttempts {
		err = s.put(ctx, key, value)
		if err == nil {
			return nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
			return fmt.Errorf("write journal configmap %s: %w", s.name, err)
		}
		before := s.value(key)
		if getErr := s.get(ctx); getErr != nil {
			return getErr
		}
		if now := s.value(key); now != "" && now != before {
			if err := changed(now); errors.Is(err, errDone) {
				return nil
			} else if err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("write journal configmap %s: %w", s.name, err)
}

func (s *Book[R]) value(key string) string {
	if s.seen == nil {
		return ""
	}
	return s.seen.Data[key]
}

// get reads the object into seen, nil when it is not there.
func (s *Book[R]) get(ctx context.Context) error {
	cm, err := s.client.Get(ctx, s.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		s.seen = nil
		return nil
	}
	if err != nil {
		return fmt.Errorf("get journal configmap %s: %w", s.name, err)
	}
	s.seen = cm
	return nil
}

func (s *Book[R]) put(ctx context.Context, key, value string) error {
	if s.seen == nil {
		created, err := s.client.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: s.name, Labels: map[string]string{ManagedBy: Manager}},
			Data:       map[string]string{key: value},
		}, metav1.CreateOptions{FieldManager: Manager})
		if err == nil {
			s.seen = created
		}
		return err
	}
	cm := s.seen.DeepCopy()
	if cm.Data == nil {
		cm.Data = map[string]string{}
	}
	cm.Data[key] = value
	updated, err := s.client.Update(ctx, cm, metav1.UpdateOptions{FieldManager: Manager})
	if err == nil {
		s.seen = updated
	}
	return err
}
