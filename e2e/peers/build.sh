#!/usr/bin/env bash
# Builds the peers of the benchmarks, at the versions their go.mod files pin,
# into bin/peers. The first time it downloads them and takes a few minutes.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p ../../bin/peers
cd refbbr
echo "building the reference body router (sigs.k8s.io/gateway-api-inference-extension/cmd/bbr)"
go build -o ../../../bin/peers/refbbr sigs.k8s.io/gateway-api-inference-extension/cmd/bbr
