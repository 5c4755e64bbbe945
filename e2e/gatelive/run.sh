#!/usr/bin/env bash
# Rounds of live canaries, each in every scenario, in a sandbox that is gone afterwards.
#   e2e/gatelive/run.sh BIN ROUNDS FILE
set -euo pipefail
bin=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
kubectl=$("$bin/kubectl-infer-sandbox" assets -o json | python3 -c '
import json, sys
print(next(a["path"] for a in json.load(sys.stdin) if a["name"] == "kubectl"))')
export PATH="$bin:$(dirname "$kubectl"):$PATH"
exec kubectl infer sandbox run -- "$here/rounds.sh" "$2" "$(realpath "$3")"
