#!/usr/bin/env bash
# The two rollouts of `make demo`, inside a sandbox (KUBECONFIG and PATH are set).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
load=
finish() {
  [ -z "$load" ] || kill -INT "$load" 2>/dev/null || true
  [ -z "$load" ] || wait "$load" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT

say() { printf '\n== %s\n' "$*"; }

# Short bakes, settles and floors, so that it fits two minutes. Real rollouts
# keep the defaults: bake 5m, settle 10s, 200 canary requests a gate.
canary() {
  kubectl infer canary run httproute/chat --stable qwen-v1 --canary qwen-v2 \
    --steps 5,25,50,100 --bake 5s --settle 2s --scrape-interval 500ms --min-requests 15 \
    --gate 'errors < 1%' --gate 'ttft p95 < 800ms'
}

# What a rollout must give back byte for byte: spec, labels and annotations.
given() {
  kubectl get httproute chat -o json | python3 -c '
import json, sys
route = json.load(sys.stdin)
meta = route["metadata"]
json.dump([route["spec"], meta.get("labels"), meta.get("annotations")], sys.stdout, indent=1, sort_keys=True)'
}

start_load() {
  kubectl infer sandbox load --model qwen=1 --rate 80 --streaming 0.7 --duration 0 --seed "$1" -o json >"$work/load.json" 2>/dev/null &
  load=$!
}

stop_load() {
  kill -INT "$load"
  wait "$load" || true
  load=
  python3 - "$work/load.json" <<'PY'
import json, sys
s = json.load(open(sys.argv[1]))
print(f"clients: {s['sent']} requests sent, {s['ok']} answered, {s['failed']} failed")
sys.exit(1 if s["failed"] and sys.argv[1:] else 0)
PY
}

say "two InferencePools behind one HTTPRoute"
kubectl apply -k "$here/../../manifests/example"
kubectl wait --for=condition=Available --timeout=30s deployment --all
kubectl wait --for=jsonpath='{.status.parents[0].conditions[?(@.type=="ResolvedRefs")].status}'=True --timeout=15s httproute/chat

say "a healthy canary under live traffic (must be promoted: exit 0, no failed request)"
start_load 1
code=0
canary >"$work/promoted" || code=$?
stop_load
[ "$code" = 0 ] || { cat "$work/promoted"; echo "the healthy canary ended with exit code $code"; exit 1; }

say "the same canary, slowed down 15 times at 25% (must be rolled back: exit 10)"
kubectl apply -k "$here/../../manifests/example" >/dev/null
given >"$work/before"
start_load 2
(
  until kubectl infer canary status httproute/chat -o json 2>/dev/null |
    python3 -c 'import json,sys; r=json.load(sys.stdin)["record"]; sys.exit(not (r["goal"] == 25 and r["phase"] == "Baking"))'; do :; done
  kubectl infer sandbox break deployment/qwen-v2 --slow 15
) &
breaker=$!
code=0
canary >"$work/rolledback" || code=$?
wait "$breaker"
given >"$work/after"
kubectl infer sandbox break --reset
stop_load || true
[ "$code" = 10 ] || { cat "$work/rolledback"; echo "the slow canary ended with exit code $code"; exit 1; }
diff "$work/before" "$work/after" && echo "spec, labels and annotations of the route are as before, byte for byte"

say "both runs"
echo "exit 0"
cat "$work/promoted"
echo
echo "exit 10"
cat "$work/rolledback"
