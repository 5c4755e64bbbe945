#!/usr/bin/env bash
# Ways to choose a model server, live, in a sandbox that is gone afterwards (about 4
# minutes). The reference picker is built by `make peers`.
#   e2e/pickerlive/run.sh BIN [FLAGS of pickerlive]
set -euo pipefail
bin=$(cd "$1" && pwd)
shift
here=$(cd "$(dirname "$0")" && pwd)
reference=$bin/peers/refepp
[ -x "$reference" ] || { echo "error: no $reference"; echo "hint: make peers"; exit 1; }
kubectl=$("$bin/kubectl-infer-sandbox" assets -o json | python3 -c '
import json, sys
print(next(a["path"] for a in json.load(sys.stdin) if a["name"] == "kubectl"))')
export PATH="$bin:$(dirname "$kubectl"):$PATH"
go build -o "$bin/pickerlive" "$here"
# shellcheck disable=SC2016 # expanded inside
exec kubectl infer sandbox run --picker-mode full-duplex --image "reference/epp=$reference" -- bash -euc '
here=$1; shift
kubectl apply -f "$here/fleet.yaml" >/dev/null
kubectl wait --for=condition=Available --timeout=90s deployment --all >/dev/null
slow=$(kubectl get pods -l app=fleet -o name | head -1)
kubectl infer sandbox break "$slow" --slow 3 >/dev/null
targets=$(kubectl get pods -l app=fleet -o jsonpath="{range .items[*]}{.status.podIP}:8000,{end}")
pickerlive --gateway "$GATEWAY" --targets "${targets%,}" "$@"' bash "$here" "$@"
