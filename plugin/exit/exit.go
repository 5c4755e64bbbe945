// Package exit is the one place where exit codes are decided. Scripts branch on
// them, so a code never changes its meaning; docs/exit-codes.md is this table.
package exit

import (
	"errors"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// Code is a process exit status.
type Code int

// The codes.
const (
	OK                 Code = 0
	Failure            Code = 1
	Usage              Code = 2
	RolledBack         Code = 10 // a gate failed, the baseline was restored
	Held               Code = 11 // inconclusive or blind at the deadline
	Interrupted        Code = 12 // resumable
	Drift              Code = 13 // somebody else changed the target
	LockHeld           Code = 14 // another process drives this rollout
	RollbackIncomplete Code = 15 // act now
	PreflightRefused   Code = 16
	Waiting            Code = 17 // for a person to approve a step
	CheckFailed        Code = 18 // what verify or doctor looked at is not as asked
	Returned           Code = 19 // back at the baseline by request
)

// Error is an error with an exit code of its own. Quiet errors were already
// reported.
type Error struct {
	Code  Code
	Err   error
	Quiet bool
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// With gives err the exit code.
func With(code Code, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Code: code, Err: err}
}

// CodeOf is the code err stands for: its own, else 1.
func CodeOf(err error) Code {
	if err == nil {
		return OK
	}
	var coded *Error
	if errors.As(err, &coded) {
		return coded.Code
	}
	return Failure
}

// For is the code of a rollout's outcome.
func For(outcome rollout.Outcome) Code {
	switch outcome {
	case rollout.Done:
		return OK
	case rollout.FailedGate:
		return RolledBack
	case rollout.Held:
		return Held
	case rollout.Interrupted:
		return Interrupted
	case rollout.Drifted:
		return Drift
	case rollout.TakenOver:
		return LockHeld
	case rollout.RollbackIncomplete:
		return RollbackIncomplete
	case rollout.Unapproved:
		return Waiting
	case rollout.Returned:
		return Returned
	default:
		return Failure
	}
}
