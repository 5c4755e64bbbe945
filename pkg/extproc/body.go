package extproc

const (
	// maxPiece is the largest body piece sent to a gateway, in bytes. The
	// protocol advises at most 64 KiB a message; the reference sends 62,000.
	// Source: processing_mode.proto, FULL_DUPLEX_STREAMED, rule 1.
	maxPiece = 62_000
	// smallSlice is the length in bytes below which a received slice is copied
	// into the piece before it, so that a body sent byte by byte costs its own
	// size and not a slice header per byte.
	smallSlice = 4 << 10
)

// heldBody is a full-duplex body waiting for its decision. Large slices are kept
// as received, without a copy.
type heldBody struct {
	slices [][]byte
	// grows says that the last slice is our own and may be appended to.
	grows bool
}

func (h *heldBody) add(slice []byte) {
	if len(slice) == 0 {
		return
	}
	last := len(h.slices) - 1
	switch {
	case len(slice) >= smallSlice || last < 0:
		h.slices, h.grows = append(h.slices, slice), false
	case h.grows && len(h.slices[last])+len(slice) <= maxPiece:
		h.slices[last] = append(h.slices[last], slice...)
	default:
		h.slices, h.grows = append(h.slices, append(make([]byte, 0, smallSlice), slice...)), true
	}
}

// pieces calls yield with the body in pieces of at most maxPiece bytes. last is
// true for the final piece.
func (h *heldBody) pieces(yield func(piece []byte, last bool)) {
	for i, slice := range h.slices {
		final := i == len(h.slices)-1
		split(slice, func(piece []byte, last bool) { yield(piece, last && final) })
	}
}

// split calls yield with b in pieces of at most maxPiece bytes, once with b
// itself when b is empty.
func split(b []byte, yield func(piece []byte, last bool)) {
	for len(b) > maxPiece {
		yield(b[:maxPiece:maxPiece], false)
		b = b[maxPiece:]
	}
	yield(b, true)
}
