#!/usr/bin/env bash
# Holds action.yml, the workflows and the GitLab component to the schemas that
# check-jsonschema ships. It is installed once, as requirements.txt pins it, into
# the cache folder.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$here/../..
pins=$(cat "$here/requirements.txt" <(python3 -c 'import sys; print(sys.version, sys.executable)') | sha256sum | cut -c1-12)
place=${XDG_CACHE_HOME:-$HOME/.cache}/kubectl-infer/venv-schemas-$pins
if [ ! -x "$place/bin/check-jsonschema" ]; then
  mkdir -p "$(dirname "$place")"
  half=$(mktemp -d "$place-half-XXXXXX")
  trap 'rm -rf "$half"' EXIT
  python3 -m venv "$half"
  "$half/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary=:all: --no-deps -r "$here/requirements.txt"
  rm -rf "$place"
  mv "$half" "$place"
fi
check() { "$place/bin/python" -m check_jsonschema "$@"; }
check --builtin-schema vendor.github-actions "$top/action.yml"
check --builtin-schema vendor.github-workflows "$top"/.github/workflows/*.yml
# What GitLab sees once its inputs are filled in: the document after the header.
job=$(mktemp --suffix .yml)
trap 'rm -rf "$job"' EXIT
sed -e '1,/^---$/d' -e 's/\$\[\[ inputs\.\([a-z]*\) \]\]/\1/g' "$top/docs/ci/gitlab/templates/canary.yml" >"$job"
check --builtin-schema vendor.gitlab-ci --data-transform gitlab-ci "$job"
