#!/bin/sh
# Makes sure that what Kairos runs on is there. As root on Debian it installs
# what is missing; otherwise it names it in one line. "run" asks for less than
# the tests do: no browser, and Redis may be missing (an embedded one stands in).
set -eu
mode=${1:-test}

have() { command -v "$1" >/dev/null 2>&1; }
have_postgres() {
	for dir in ${KAIROS_PG_BINDIR:-} /usr/lib/postgresql/*/bin /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin; do
		[ -x "$dir/initdb" ] && [ -x "$dir/postgres" ] && return 0
	done
	have initdb && have postgres
}
have_redis() { have redis-server || have valkey-server; }
have_browser() { have chromium || have chromium-browser || have google-chrome; }

have go || {
	echo "missing: go: install Go 1.26 or newer from https://go.dev/dl" >&2
	exit 1
}
missing=
have_postgres || missing="$missing postgresql"
have_redis || missing="$missing redis-server"
if [ "$mode" = test ]; then
	have_browser || missing="$missing chromium"
fi
if [ -z "$missing" ]; then exit 0; fi

if [ "$(id -u)" = 0 ] && have apt-get; then
	echo "installing:$missing"
	# A package that starts a server on a standard port would be a surprise.
	policy=/usr/sbin/policy-rc.d
	if [ ! -e $policy ]; then
		printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy
		trap 'rm -f $policy' EXIT
	fi
	log=$(mktemp)
	export DEBIAN_FRONTEND=noninteractive
	if ! { apt-get update -q && apt-get install -q -y --no-install-recommends $missing; } >"$log" 2>&1; then
		tail -n 5 "$log" >&2
		echo "missing:$missing: apt-get could not install them" >&2
		rm -f "$log"
		exit 1
	fi
	rm -f "$log"
	exit 0
fi

if [ "$mode" = run ] && [ "$missing" = " redis-server" ]; then
	echo "redis-server is not installed: an embedded stand-in is used" >&2
	exit 0
fi
echo "missing:$missing: install them with your package manager (Debian: sudo apt-get install$missing)" >&2
exit 1
