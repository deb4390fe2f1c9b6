#!/bin/sh
# Runs the tests as an ordinary user; `make test-unprivileged` calls it.
#
# As root it becomes user 65534 (nobody). Such a user may not reach the checkout
# or its Python, which are often in root's home: then the tests run in a copy,
# under another Python that it can reach; if there is none, it says so and
# exits with 0. It removes what it made.
set -eu
cd "$(dirname "$0")/.."
nobody=65534

if [ "$(id -u)" != 0 ]; then
    echo "test-unprivileged: skipped: this is an ordinary user, whose tests are make test"
    exit 0
fi
if ! command -v setpriv >/dev/null; then
    echo "test-unprivileged: skipped: no setpriv here (on Debian: apt-get install util-linux)"
    exit 0
fi

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
trap 'exit 1' HUP INT TERM
mkdir "$place/home" "$place/tmp"
chmod 755 "$place"
chown -R $nobody:$nobody "$place"

# The environment is made anew: HOME and the like are root's.
as_nobody() {
    setpriv --reuid $nobody --regid $nobody --clear-groups \
        env -i PATH="$PATH" LANG="${LANG:-C.UTF-8}" HOME="$place/home" TMPDIR="$place/tmp" \
        PYTHONDONTWRITEBYTECODE=1 HYPOTHESIS_STORAGE_DIRECTORY="$place/hypothesis" "$@"
}

reaches() { # python: can nobody run it, and is it new enough?
    as_nobody "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
}

tests_run_here() {
    reaches .venv/bin/python &&
        as_nobody .venv/bin/python -c 'import procmem.native, pytest, xdist, hypothesis' \
            2>/dev/null && as_nobody test -r Makefile -a -r tests -a -r scripts
}

if tests_run_here; then
    checkout=.
else
    base=
    for candidate in "${PYTHON:-python3}" /usr/bin/python3 /usr/local/bin/python3; do
        candidate=$(command -v "$candidate") || continue
        if reaches "$candidate" && [ -z "$(sh scripts/needs.sh "$candidate")" ]; then
            base=$candidate
            break
        fi
    done
    if [ -z "$base" ]; then
        echo "test-unprivileged: skipped: user $nobody can't reach this checkout or its Python," \
            "and no other Python >= 3.10 here has its headers and venv"
        exit 0
    fi
    echo "test-unprivileged: user $nobody can't reach this checkout or its Python;" \
        "a copy is set up under $base"
    checkout=$place/checkout
    mkdir "$checkout"
    tar -c --exclude=./.git --exclude=./.venv --exclude=./build --exclude=./dist \
        --exclude=./.fuzz --exclude=__pycache__ --exclude='*.so' --exclude=./.*_cache . |
        tar -x -C "$checkout"
    # Root installs: its pip may know a mirror. Only the tests run as nobody.
    (cd "$checkout" && make --no-print-directory PYTHON="$base" .venv/.can-test)
    chmod -R a+rX "$checkout"
fi

cd "$checkout"
as_nobody .venv/bin/python -m pytest -n auto -m "not slow" -p no:cacheprovider "$@"
