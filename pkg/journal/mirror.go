package journal

import (
	"encoding/json"
	"fmt"

	"k8s.io/client-go/kubernetes"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/mirror"
)

// Mirrors keeps a mirror's record.
type Mirrors = Book[mirror.Record]

// NewMirrors is the journal of the target kind/name as a mirror sees it.
func NewMirrors(core kubernetes.Interface, namespace, kind, name string) *Mirrors {
	return &Mirrors{
		client: core.CoreV1().ConfigMaps(namespace), name: Name(kind, name), key: MirrorKey, decode: DecodeMirror,
		blank: func(epoch int64) mirror.Record { return mirror.Record{Epoch: epoch} },
	}
}

// DecodeMirror reads a mirror's record of a format this build knows; a newer one
// is refused.
func DecodeMirror(raw []byte) (mirror.Record, error) {
	var record mirror.Record
	if err := json.Unmarshal(raw, &record); err != nil {
		return mirror.Record{}, fmt.Errorf("read journal of a mirror: %w", err)
	}
	if record.Format != mirror.RecordFormat {
		return mirror.Record{}, hint.Errorf("use the kubectl-infer version that began this mirror, or a newer one",
			"read journal of a mirror: format %d is not known to this build, which writes %d", record.Format, mirror.RecordFormat)
	}
	return record, nil
}

// Mirrored is the mirror that the journal last loaded says is not over; ok is
// false without one. A record that cannot be read counts.
func Mirrored[R Kept](book *Book[R]) (record mirror.Record, ok bool) {
	raw := book.Beside(MirrorKey)
	if raw == nil {
		return mirror.Record{}, false
	}
	record, err := DecodeMirror(raw)
	return record, err != nil || record.Phase != mirror.Done
}
