#!/usr/bin/env bash
# make demo: two rollouts under live traffic, on a sandbox that is gone afterwards.
# Everything goes through the real kubectl, with kubectl-infer as its plugin.
#   e2e/demo/run.sh BIN      BIN holds kubectl-infer and kubectl-infer-sandbox
set -euo pipefail
bin=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
kubectl=$("$bin/kubectl-infer-sandbox" assets -o json | python3 -c '
import json, sys
print(next(a["path"] for a in json.load(sys.stdin) if a["name"] == "kubectl"))')
export PATH="$bin:$(dirname "$kubectl"):$PATH"
exec kubectl infer sandbox run -- "$here/rollouts.sh"
