#!/usr/bin/env bash
# The scenarios, in a sandbox (KUBECONFIG and PATH are set): rounds.sh ROUNDS FILE
set -euo pipefail
rounds=$1 file=$2
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
load=
finish() {
  [ -z "$load" ] || kill -INT "$load" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
failed=0

# scenario NAME EXIT "FLAGS" "BREAK"...: each BREAK is what `sandbox break` gets
# once the gates look at the first step.
scenario() {
  local name=$1 want=$2 flags=$3 got=0
  shift 3
  kubectl apply -k "$here/../../manifests/example" >/dev/null
  kubectl infer sandbox break --reset >/dev/null
  kubectl wait --for=condition=Available --timeout=60s deployment --all >/dev/null
  (
    until kubectl infer canary status httproute/chat -o json 2>/dev/null |
      python3 -c 'import json,sys; r=json.load(sys.stdin)["record"]; sys.exit(not (r["goal"] == 50 and r["phase"] == "Baking"))' 2>/dev/null; do sleep 0.2; done
    for what in "$@"; do
      # shellcheck disable=SC2086 # a target and its flags
      kubectl infer sandbox break $what >/dev/null
    done
  ) &
  local breaker=$!
  # shellcheck disable=SC2086 # several flags
  kubectl infer canary run httproute/chat --stable qwen-v1 --canary qwen-v2 --steps 50 --calibrate 20s --bake 20s \
    --settle 2s --scrape-interval 1s --min-requests 50 --step-deadline 60s $flags -o json >"$work/out" 2>"$work/err" || got=$?
  kill "$breaker" 2>/dev/null || true
  wait "$breaker" || true
  if [ "$got" = 11 ]; then kubectl infer canary abort httproute/chat >/dev/null 2>&1; fi
  python3 - "$name" "$want" "$got" "$work/out" "$file" <<'PY'
import json, sys, time
name, want, got, out, file = sys.argv[1:]
try:
    doc = json.load(open(out))
except ValueError:
    doc = {}
line = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "scenario": name, "want": int(want), "got": int(got),
        "rollbackMs": round(1000 * doc.get("rollbackSeconds", 0)), "reason": doc.get("reason", "")}
print(json.dumps(line))
open(file, "a").write(json.dumps(line) + "\n")
PY
  if [ "$got" != "$want" ]; then
    failed=1
    cat "$work/err"
  fi
}

kubectl apply -k "$here/../../manifests/example" >/dev/null
kubectl wait --for=condition=Available --timeout=60s deployment --all >/dev/null
kubectl infer sandbox load --model qwen=1 --rate 40 --streaming 0.9 --duration 0 >/dev/null 2>&1 &
load=$!
for _ in $(seq "$rounds"); do
  scenario "healthy" 0 ""
  scenario "twice as slow" 10 "--bake 60s --step-deadline 120s" "deployment/qwen-v2 --slow 2"
  scenario "5 % errors" 10 "--bake 120s --step-deadline 180s" "deployment/qwen-v2 --error-rate 0.05"
  scenario "dead" 10 "" "deployment/qwen-v2 --dead"
  scenario "hung" 10 "--bake 60s --step-deadline 90s" "deployment/qwen-v2 --hang"
  scenario "stable slow" 0 "" "deployment/qwen-v1 --slow 3"
  scenario "both slowed" 11 "" "deployment/qwen-v1 --slow 3" "deployment/qwen-v2 --slow 3"
done
exit "$failed"
