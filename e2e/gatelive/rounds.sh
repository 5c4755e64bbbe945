#!/usr/bin/env bash
# The scenarios, in a sandbox (KUBECONFIG and PATH are set): rounds.sh ROUNDS FILE
# FILE says what was done already: each scenario runs until it has ROUNDS lines, or
# until GATE_LIVE_SECONDS are over.
set -euo pipefail
rounds=$1 file=$2
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
children=()
finish() {
  for pid in "${children[@]}"; do kill "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap finish EXIT
failed=0
touch "$file"
enough() { [ "${GATE_LIVE_SECONDS:-0}" -gt 0 ] && [ "$SECONDS" -ge "$GATE_LIVE_SECONDS" ]; }
lines() { grep -cF "\"scenario\": \"$1\"," "$file" || true; }

# All servers are half as slow again as the simulator by itself, so that a busy machine
# adds less to what it measures.
reset() {
  kubectl apply -k "$here/../../manifests/example" >/dev/null
  kubectl infer sandbox break --reset >/dev/null
  rm -f "$work/away"
  kubectl wait --for=condition=Available --timeout=60s deployment --all >/dev/null
  for arm in v1 v2; do kubectl infer sandbox break "deployment/qwen-$arm" --slow 1.5 >/dev/null; done
}

# baking is true once the gates look at the step.
baking() { grep -q '"phase":"Baking","goal":"50%"' "$work/events" 2>/dev/null; }

# scenario NAME EXIT "FLAGS" "HARM"...: each HARM comes once the gates look: what
# `sandbox break` gets, or outage SECONDS for metrics that are away so long.
scenario() {
  local name=$1 want=$2 flags=$3 round=$4 got=0
  shift 4
  if [ "$(lines "$name")" -ge "$round" ] || enough; then return; fi
  reset
  rm -f "$work/events" "$work/record"
  (
    until baking; do sleep 0.2; done
    for what in "$@"; do
      case $what in
      outage*) touch "$work/away"; sleep "${what#outage }"; rm -f "$work/away" ;;
      # shellcheck disable=SC2086 # a target and its flags
      *) kubectl infer sandbox break $what >/dev/null ;;
      esac
    done
  ) &
  local breaker=$!
  # shellcheck disable=SC2086 # several flags
  kubectl infer canary run httproute/chat --stable qwen-v1 --canary qwen-v2 --steps 50 --calibrate 20s --bake 20s \
    --settle 2s --scrape-interval 1s --min-requests 50 --step-deadline 60s $flags \
    --events "$work/events" --record "$work/record" -o json >"$work/out" 2>"$work/err" || got=$?
  kill "$breaker" 2>/dev/null || true
  wait "$breaker" || true
  if [ "$got" = 11 ]; then kubectl infer canary abort httproute/chat >/dev/null 2>&1; fi
  python3 - "$name" "$want" "$got" "$work/out" "$work/err" "$file" <<'PY'
import json, sys, time
name, want, got, out, err, file = sys.argv[1:]
try:
    doc = json.load(open(out))
except ValueError:
    doc = {}
line = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "scenario": name, "want": int(want), "got": int(got),
        "rollbackMs": round(1000 * doc.get("rollbackSeconds", 0)), "blind": "blind" in open(err).read(), "reason": doc.get("reason", "")}
print(json.dumps(line))
open(file, "a").write(json.dumps(line) + "\n")
PY
  if [ "$got" != "$want" ]; then
    failed=1
    cat "$work/err"
    [ ! -s "$work/record" ] || cp "$work/record" "$file.$(date +%H%M%S).record" # for `canary replay`
  fi
}

kubectl apply -k "$here/../../manifests/example" >/dev/null
kubectl wait --for=condition=Available --timeout=60s deployment --all >/dev/null
kubectl infer sandbox load --model qwen=1 --rate 30 --streaming 0.9 --duration 0 >/dev/null 2>&1 &
children+=("$!")
# Envoy's statistics are at the third address of the sandbox's network, the API server's.
network=$(kubectl config view --minify -o jsonpath='{.clusters[0].cluster.server}' | grep -oE '127\.[0-9]+')
python3 "$here/relay.py" "$work" "http://$network.0.3:9901/stats/prometheus" &
children+=("$!")
until [ -s "$work/relay" ]; do sleep 0.1; done
echo 'gates: ["errors < 5%", "e2e p95 < 2x stable"]' >"$work/outage.yaml"
by_envoy="--metrics envoy --metrics-url $(cat "$work/relay") -f $work/outage.yaml"
for round in $(seq "$rounds"); do
  scenario "healthy" 0 "" "$round"
  scenario "twice as slow" 10 "--bake 60s --step-deadline 120s" "$round" "deployment/qwen-v2 --slow 3"
  scenario "5 % errors" 10 "--bake 180s --step-deadline 240s" "$round" "deployment/qwen-v2 --error-rate 0.05"
  scenario "dead" 10 "" "$round" "deployment/qwen-v2 --dead"
  scenario "hung" 10 "--bake 60s --step-deadline 90s" "$round" "deployment/qwen-v2 --hang"
  scenario "stable slow" 0 "" "$round" "deployment/qwen-v1 --slow 4.5"
  scenario "both slowed" 11 "" "$round" "deployment/qwen-v1 --slow 4.5" "deployment/qwen-v2 --slow 4.5"
  scenario "outage" 0 "$by_envoy" "$round" "outage 20"
done
exit "$failed"
