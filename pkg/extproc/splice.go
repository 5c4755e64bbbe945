package extproc

import (
	"slices"
	"strconv"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
)

// Splice replaces the bytes From to To (not included) of a request body with
// With, and leaves every other byte as it is. The content-length is looked after.
type Splice struct {
	From, To int64
	With     []byte
}

// growth is by how many bytes the body becomes longer.
func (s *Splice) growth() int64 { return int64(len(s.With)) - (s.To - s.From) }

const contentLength = "content-length"

// sized returns d with the content-length that a spliced body of n bytes needs.
// In BUFFERED the gateway compares it with the body and refuses what differs; in
// full duplex it takes the header off by itself, and one that does not must.
// Source: processing_mode.proto, BodySendMode.
func (d Decision) sized(mode bodyMode, n int) Decision {
	switch {
	case d.Splice == nil || d.Splice.growth() == 0:
	case mode.fullDuplex():
		d.Remove = append(slices.Clip(d.Remove), contentLength)
	default:
		d.Set = append(slices.Clip(d.Set), Header{contentLength, strconv.Itoa(n)})
	}
	return d
}

// splicedAnswer answers a body that came whole: it lets it pass, or sends the
// changed one.
func splicedAnswer(d Decision, body []byte) *answer {
	if d.Splice == nil {
		return bodyAnswer(d)
	}
	s := d.Splice
	changed := slices.Concat(body[:s.From], s.With, body[s.To:])
	a := bodyAnswer(d.sized(bodyMode{}, len(changed)))
	a.GetRequestBody().GetResponse().BodyMutation = &extprocv3.BodyMutation{
		Mutation: &extprocv3.BodyMutation_Body{Body: changed},
	}
	return a
}

// splice changes the held body; only slices that s touches are replaced.
func (h *heldBody) splice(s *Splice) {
	if s == nil {
		return
	}
	at, with := int64(0), s.With
	var out [][]byte
	for _, slice := range h.slices {
		from, to := s.From-at, s.To-at
		at += int64(len(slice))
		if to <= 0 || from >= int64(len(slice)) {
			out = append(out, slice)
			continue
		}
		for _, part := range [][]byte{slice[:max(from, 0)], with, slice[min(to, int64(len(slice))):]} {
			if len(part) > 0 {
				out = append(out, part)
			}
		}
		with = nil
	}
	h.slices, h.grows = out, false
}
