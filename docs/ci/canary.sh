#!/usr/bin/env bash
# A gated rollout as one step of any pipeline. Settings come from the
# environment; every file it writes is in $OUT. The exit code is that of
# `kubectl infer canary run`, see docs/exit-codes.md: 0 promoted, 10 rolled back
# by a gate, 11 held, 17 waiting for an approval.
#
# Run it again, from this runner or another, to go on where it stopped.
set -uo pipefail
: "${TARGET:?for example httproute/chat}" "${STABLE:?the pool that serves}" "${CANARY:?the pool to move to}"
OUT=${OUT:-.}
gates=()
while IFS= read -r gate; do
  [ -z "$gate" ] || gates+=(--gate "$gate")
done <<<"${GATES:-}"
code=0
# shellcheck disable=SC2086  # ARGS are words
kubectl infer canary run "$TARGET" --stable "$STABLE" --canary "$CANARY" --steps "${STEPS:-5,25,50,100}" \
  ${gates[@]+"${gates[@]}"} --wait=false \
  --events "$OUT/canary-events.jsonl" --junit-file "$OUT/canary-junit.xml" --summary-file "$OUT/canary-summary.md" \
  -o json ${ARGS:-} >"$OUT/canary-result.json" || code=$?
exit "$code"
