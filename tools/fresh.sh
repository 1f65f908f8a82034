#!/bin/sh
# Fails when generated code or module files differ from what their sources
# give. Leaves the tree as it was.
set -eu
tools=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cp -R api/dashboard "$dir/before"
$tools templ generate -path api/dashboard >"$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 1; }
if ! diff -rq "$dir/before" api/dashboard >&2; then
	echo "generated templates are stale: run make generate" >&2
	exit 1
fi
go mod tidy -diff >"$dir/tidy" 2>&1 || { echo "go.mod is not tidy: run make tidy" >&2; cat "$dir/tidy" >&2; exit 1; }
