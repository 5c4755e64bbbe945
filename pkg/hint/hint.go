// Package hint attaches the next thing to type to an error.
//
// An error says what went wrong; its hint says what to do about it, on a line
// of its own. Any layer may add one with Wrap or Errorf; the top level prints
// "error: …" and, when Of finds one, "hint: …".
package hint

import (
	"errors"
	"fmt"
)

type hinted struct {
	err  error
	hint string
}

func (h *hinted) Error() string { return h.err.Error() }
func (h *hinted) Unwrap() error { return h.err }

// Wrap returns err carrying hint. A nil err stays nil.
func Wrap(err error, hint string) error {
	if err == nil {
		return nil
	}
	return &hinted{err: err, hint: hint}
}

// Errorf builds an error as fmt.Errorf does and attaches hint to it.
func Errorf(hint, format string, args ...any) error {
	return &hinted{err: fmt.Errorf(format, args...), hint: hint}
}

// Of returns the outermost hint in err's chain, or "".
func Of(err error) string {
	var h *hinted
	if errors.As(err, &h) {
		return h.hint
	}
	return ""
}
