package rollout

import (
	"cmp"
	"context"
	"errors"
	"slices"
)

// Group is all targets of a run as one: they move one by one, in their order,
// and a step is in effect when all are there. The ceiling was recorded before,
// so any mixture of before and after keeps the promise.
type Group []Target

// Seize stamps every target.
func (g Group) Seize(ctx context.Context, stamp string) error {
	for _, t := range g {
		if err := t.Seize(ctx, stamp); err != nil {
			return err
		}
	}
	return nil
}

// Read is where the group stands: at the goal when every target is, with the
// highest share and the first reason to wait of any. A target that is gone does
// not hide that another carries a foreign stamp.
func (g Group) Read(ctx context.Context, goal Goal) (Standing, error) {
	all := Standing{AtGoal: true, Accepted: true}
	var errs []error
	for _, t := range g {
		s, err := t.Read(ctx, goal)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !s.AtGoal && all.AtGoal {
			all.Share, all.By = s.Share, s.By
		} else if s.AtGoal == all.AtGoal {
			all.Share = max(all.Share, s.Share)
		}
		all.AtGoal, all.Fenced, all.Unstamped = all.AtGoal && s.AtGoal, all.Fenced || s.Fenced, all.Unstamped || s.Unstamped
		all.Accepted, all.Waiting = all.Accepted && s.Accepted, cmp.Or(all.Waiting, s.Waiting)
	}
	if len(errs) > 0 && !all.Fenced {
		return Standing{}, errors.Join(errs...)
	}
	return all, nil
}

// Move takes every target to goal. On the way up the first that cannot move
// ends it; on the way back the highest share goes first, and one that cannot
// Move stops no other.
func (g Group) Move(ctx context.Context, from, goal Goal) error {
	if goal != Baseline {
		for _, t := range g {
			if err := t.Move(ctx, from, goal); err != nil {
				return err
			}
		}
		return nil
	}
	var errs []error
	for _, t := range g.highestFirst(ctx) {
		errs = append(errs, t.Move(ctx, from, goal))
	}
	return errors.Join(errs...)
}

// highestFirst orders targets by their present share; one that cannot be read
// counts as the highest.
func (g Group) highestFirst(ctx context.Context) []Target {
	if len(g) == 1 {
		return g
	}
	share := map[Target]float64{}
	for _, t := range g {
		s, err := t.Read(ctx, Baseline)
		if share[t] = s.Share; err != nil {
			share[t] = 100
		}
	}
	sorted := slices.Clone(g)
	slices.SortStableFunc(sorted, func(a, b Target) int { return cmp.Compare(share[b], share[a]) })
	return sorted
}

// Withdraw takes back to from what stands at goal, since another target could
// not follow, and leaves everything else as it is.
func (g Group) Withdraw(ctx context.Context, goal, from Goal) error {
	var errs []error
	for _, t := range g {
		s, err := t.Read(ctx, goal)
		if err == nil && s.AtGoal && !s.Fenced {
			err = t.Move(ctx, goal, from)
		}
		if err != nil && !errors.Is(err, ErrDrift) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Release removes every stamp that can be removed.
func (g Group) Release(ctx context.Context) error {
	var errs []error
	for _, t := range g {
		errs = append(errs, t.Release(ctx))
	}
	return errors.Join(errs...)
}
