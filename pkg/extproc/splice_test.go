package extproc

import (
	"bytes"
	"testing"

	procv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
)

func TestSpliceChangesItsBytesOnlyHoweverTheBodyIsCut(t *testing.T) {
	t.Parallel()
	body, want := []byte("abcdefghij"), "abcXYZZYhij"
	for size := 1; size <= len(body); size++ {
		var h heldBody
		for at := 0; at < len(body); at += size {
			h.slices = append(h.slices, body[at:min(at+size, len(body))])
		}
		h.splice(&Splice{From: 3, To: 7, With: []byte("XYZZY")[:4:4]})
		var got []byte
		lasts := 0
		h.pieces(func(piece []byte, last bool) {
			got = append(got, piece...)
			if last {
				lasts++
			}
		})
		if string(got) != "abcXYZZhij" || lasts != 1 {
			t.Errorf("slices of %d: %q, %d last pieces", size, got, lasts)
		}
	}
	if !bytes.Equal(body, []byte("abcdefghij")) {
		t.Errorf("the received bytes were changed: %q", body)
	}
	a := splicedAnswer(Decision{Splice: &Splice{From: 3, To: 7, With: []byte("XYZZY")}}, body)
	common := a.GetRequestBody().GetResponse()
	if got := string(common.GetBodyMutation().GetBody()); got != want {
		t.Errorf("whole body: %q", got)
	}
	if h := common.GetHeaderMutation().GetSetHeaders(); len(h) != 1 || h[0].GetHeader().GetKey() != "content-length" || string(h[0].GetHeader().GetRawValue()) != "11" {
		t.Errorf("content-length: %v", h)
	}
}

func TestContentLengthIsTouchedOnlyWhenTheLengthChanges(t *testing.T) {
	t.Parallel()
	full := bodyMode{send: procv3.ProcessingMode_FULL_DUPLEX_STREAMED}
	for rule, tc := range map[string]struct {
		splice      *Splice
		mode        bodyMode
		set, remove int
	}{
		"no splice":                        {nil, full, 0, 0},
		"same length":                      {&Splice{From: 1, To: 3, With: []byte("ab")}, full, 0, 0},
		"full duplex: the gateway chunks":  {&Splice{From: 1, To: 3, With: []byte("abc")}, full, 0, 1},
		"buffered: the length of the body": {&Splice{From: 1, To: 3, With: []byte("abc")}, bodyMode{}, 1, 0},
	} {
		d := Decision{Splice: tc.splice}.sized(tc.mode, 9)
		if len(d.Set) != tc.set || len(d.Remove) != tc.remove {
			t.Errorf("%s: set %v, remove %v", rule, d.Set, d.Remove)
		}
	}
}
