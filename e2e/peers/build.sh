#!/usr/bin/env bash
# Builds the peers of the benchmarks, at the versions their go.mod files pin,
# into bin/peers. The first time it downloads them and takes a few minutes.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p ../../bin/peers

# peer FOLDER PROGRAM: FOLDER pins the module, cmd/PROGRAM of it becomes bin/peers/FOLDER.
peer() {
  echo "building the reference $2 (sigs.k8s.io/gateway-api-inference-extension/cmd/$2)"
  (cd "$1" && go build -trimpath -o "../../../bin/peers/$1" "sigs.k8s.io/gateway-api-inference-extension/cmd/$2")
}

peer refbbr bbr
peer refepp epp
