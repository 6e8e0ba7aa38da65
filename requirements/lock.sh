#!/bin/sh
# Renews the locks. Needs uv. The files carry hashes and no download addresses.
set -eu
cd "$(dirname "$0")/.."
common="--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q"
uv pip compile pyproject.toml --extra postgres $common -o requirements/run.txt "$@"
uv pip compile pyproject.toml --extra postgres --extra encoder --group dev $common -o requirements/dev.txt "$@"
uv pip compile requirements/encoder.in -c requirements/run.txt $common -o requirements/encoder.txt "$@"   # the extra, on top of run.txt
uv pip compile requirements/build.in $common -o requirements/build.txt "$@"   # what builds the wheel in a container
