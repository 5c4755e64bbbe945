#!/usr/bin/env bash
# Seeds one bug at a time into pkg/rollout (a guard removed, an order swapped)
# and runs the package's tests on it, through an overlay: the tree stays as it
# is. Prints one line for each bug, and fails when fewer than 95 % are caught. A
# bug that only makes the tests run into their time limit is not caught.
# Run from the top of the repository: pkg/rollout/testdata/seeded.sh
# FROM=n goes on with the nth bug.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
caught=0 all=0 n=0
seed() { # NAME FILE SED-EXPRESSION
  local file=$PWD/pkg/rollout/$2
  n=$((n + 1))
  [ $n -ge "${FROM:-1}" ] || return 0
  sed -E "$3" "$file" >"$work/$2"
  if cmp -s "$file" "$work/$2"; then echo "no longer applies: $1"; exit 1; fi
  printf '{"Replace":{"%s":"%s"}}' "$file" "$work/$2" >"$work/overlay.json"
  all=$((all + 1))
  # The exploration takes the longest, so it is asked last.
  if run -skip Explorer && run -run Explorer; then
    echo "ESCAPED  $1"
  elif grep -q 'build failed' "$work/log"; then
    echo "does not build: $1"; cat "$work/log"; exit 1
  elif grep -q 'test timed out' "$work/log"; then
    echo "HANGS    $1"
  else
    caught=$((caught + 1)); echo "caught   $1: $(grep -m1 -o -- '--- FAIL: [^ ]*' "$work/log" | cut -c11-)"
  fi
}
run() { go test -count=1 -failfast -timeout 300s -overlay "$work/overlay.json" "$@" ./pkg/rollout >"$work/log" 2>&1; }
seed "a raise does not lift the ceiling"             next.go    's/max\(s\.Ceiling, share\)/s.Ceiling/'
seed "a transition counts as saved before it is"     next.go    's/(s\.Watch\.WrongReads = )false, false, now, 0/\1true, false, now, 0/'
seed "acts before the journal"                       next.go    's/if !s\.Watch\.Saved \{/if false {/'
seed "rolled back without having moved"              next.go    '/^func rollingBack/,/^}/s/!o\.Standing\.AtGoal/false/'
seed "rolled back without a rollback"                next.go    's/s\.enter\(RollingBack/s.enter(RolledBack/'
seed "a rollback keeps the old goal"                 next.go    's/= cause, why, Baseline, now/= cause, why, s.Goal, now/'
seed "settled without acceptance"                    next.go    '/^func raising/,/^}/s/!o\.Standing\.Accepted/false/'
seed "no settling"                                   next.go    's/< s\.Plan\.Settle \{/< 0 {/'
seed "harm unseen while settling"                    next.go    '/^func settling/,/^}/s/f\.Harm != ""/false/'
seed "harm unseen while baking"                      next.go    '/^func baking/,/^}/s/f\.Harm != ""/false/'
seed "no bake time"                                  next.go    's/s\.Watch\.Baked >= s\.Plan\.Bake/true/'
seed "sleep counts as bake time"                     next.go    's/gap <= longestGap\(s\.Plan\)/true/'
seed "passes without a verdict"                      next.go    's/if f\.Pass && f\.Missing/if f.Missing/'
seed "a foreign weight unseen"                       next.go    '/^func baking/,/^}/s/o\.Standing != nil \&\& !o\.Standing\.AtGoal/false/'
seed "a foreign weight waits for the next look"      next.go    '/^func baking/,/^}/s/o\.Standing != nil \&\& !o/o.Sample != nil \&\& o.Standing != nil \&\& !o/'
seed "reads far apart count as drift"                next.go    's/^.*s\.Watch\.WrongReads = 0$//'
seed "no deadline"                                   next.go    's/>= s\.Plan\.StepDeadline \{/< 0 {/'
seed "a foreign stamp unseen"                        next.go    's/o\.Standing\.Fenced \|\| o\.Standing\.Unstamped/false/'
seed "the stamp stays"                               next.go    's/if !s\.Watch\.Released/if false/'
seed "the step counter stays"                        next.go    '/^func passed/,/^}/s/s\.Step\+\+/s.Step += 0/'
seed "an interrupt goes unheard"                     next.go    's/if o\.Interrupted \&\& !s\.Phase/if false \&\& !s.Phase/'
seed "approval not needed"                           next.go    's/if !s\.waits\(\)/if true/'
seed "a pause does not hold"                         next.go    's/s\.Plan\.Bake \&\& !s\.Paused/s.Plan.Bake/'
seed "capacity not looked at"                        next.go    's/cmp\.Or\(s\.short\(\*o\.Sample\), /cmp.Or("", /'
seed "where it stood is not recorded"                next.go    's/(s\.From, s\.Goal, s\.Ceiling = )s\.Goal/\1s.From/'
seed "a resumed step is not watched again"           run.go     's/s\.Phase = Raising$/s.Step += 0/'
seed "the lock is not asked"                         run.go     's/err := d\.Lock\.Check\(\)/err := error(nil)/'
seed "a stale lease starves a rollback"              run.go     's/s\.Phase == RollingBack \&\& errors\.Is\(err, ErrUnlocked\)/false/'
seed "an abort waits its turn"                       request.go 's/q\.Wish == WishAbort \}\)/false })/'
seed "another run's request is obeyed"               request.go 's/q\.Run != r\.Run \|\| //'
seed "a takeover is taken for trouble"               trouble.go 's/errors\.Is\(o\.Err, ErrSuperseded\)/false/'
seed "a rollback without end"                        trouble.go 's/inPhase >= o\.RollbackLimit/inPhase < 0/'
seed "a living holder looks dead"                    lease.go   's/view\.Version != j\.first\.Version/false/'
seed "a lease is fresh for its whole period"         lease.go   's/age <= period\/freshPerPeriod/age <= period/'
seed "the share is not verified"                     next.go    's/, s\.misdirected\(\)\)/, "")/'
seed "the gates sleep while the journal is away"     trouble.go 's/case !s\.Watch\.Saved \&\& s\.Phase\.Watched\(\)/case false/'
seed "what moved is not withdrawn"                   trouble.go 's/if s\.Phase != Raising \|\| len\(s\.Plan\.Also\) == 0/if true/'
seed "the lowest share goes back first"              group.go   's/cmp\.Compare\(share\[b\], share\[a\]\)/cmp.Compare(share[a], share[b])/'
seed "one target keeps the others up"                group.go   's/errs = append\(errs, t\.Move\(ctx, from, goal\)\)/if err := t.Move(ctx, from, goal); err != nil { return err }/'
seed "a foreign write is written over for ever"      trouble.go 's/s\.Watch\.Reasserted >= maxReasserts/false/'
seed "a signal waits for the call"                   run.go     's/signalGrace = 2 /signalGrace = 9 /'
seed "a replaced target is taken for a takeover"     trouble.go 's/at == nil \|\| at\.Fenced \|\| !at\.Unstamped/true/'
echo "$caught of $all seeded bugs caught"
[ $((caught * 100)) -ge $((all * 95)) ]
