#!/bin/sh
# Runs every fuzz target of the module for FUZZTIME (default 20s) each and stops at the first that fails.
set -eu
cd "$(dirname "$0")/../.."
for dir in $(git ls-files '*_test.go' | xargs grep -l '^func Fuzz' | xargs -r -n1 dirname | sort -u); do
	sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$dir"/*_test.go | while read -r name; do
		echo "fuzz: ./$dir $name"
		go test "./$dir" -run '^$' -fuzz "^$name\$" -fuzztime "${FUZZTIME:-20s}"
	done
done
