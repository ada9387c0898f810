#!/bin/sh
# The linters: gofmt, go vet, staticcheck at a fixed version, and shellcheck where it is installed.
set -eu
cd "$(dirname "$0")/../.."
staticcheck=honnef.co/go/tools/cmd/staticcheck@v0.7.0

status=0
unformatted=$(git ls-files -co --exclude-standard '*.go' | xargs -r gofmt -l)
if [ -n "$unformatted" ]; then
	echo "gofmt: not formatted:"
	echo "$unformatted"
	status=1
fi
go vet ./... || status=1
go run "$staticcheck" ./... || status=1
if command -v shellcheck >/dev/null; then
	shellcheck integration/setup/*.sh .ci/run || status=1
else
	echo "lint: shellcheck is not installed: scripts not checked"
fi
exit $status
