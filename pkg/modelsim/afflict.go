package modelsim

import "time"

// slow is how much slower than the caller's the whole server's clock runs.
func (e *Engine) slow() float64 {
	if e.faults.narrow() {
		return 1
	}
	return e.faults.slow()
}

// hung tells whether the whole server's clock stands.
func (e *Engine) hung() bool { return e.faults.Hang && !e.faults.narrow() }

// afflict applies faults of some requests to a running sequence, and takes
// them away again; what is left of its prefill stretches or shrinks with them.
func (e *Engine) afflict(s *Sequence) {
	slow, hung := 1.0, false
	if e.faults.narrow() && e.faults.touch(e.cfg.Seed, s.Request, s.Model) {
		slow, hung = e.faults.slow(), e.faults.Hang
	}
	left := s.left
	if !s.hung {
		left = s.prefillEnd - e.now
	}
	left = time.Duration(float64(left) * slow / s.slow)
	s.slow, s.hung, s.left = slow, hung, left
	if s.prefilling {
		s.prefillEnd = e.now + max(1, left)
	}
}
