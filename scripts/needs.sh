#!/bin/sh
# Prints one line if something is missing that procmem can't be built without,
# with the command that installs it; prints nothing if all is there.
# The argument is the Python to check.
set -u
python=${1:-python3}

if [ "$(uname -s)" != Linux ]; then
    echo "procmem reads /proc of Linux; this is $(uname -s)"
    exit
fi

missing='' debian='' fedora='' alpine='' arch='' suse=''

lacks() { # what, and its packages: Debian, Fedora, Alpine, Arch, SUSE
    missing="$missing${missing:+, }$1"
    debian="$debian $2" fedora="$fedora $3" alpine="$alpine $4" arch="$arch $5" suse="$suse $6"
}

# A version with a package of its own (python3.12) has its headers in one too.
case ${python##*/} in
python3.*) name=${python##*/} ;;
*) name=python3 ;;
esac

have_python=
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
case $version in
'')
    lacks "$python" "$name" "$name" python3 python python3
    ;;
[0-2].* | 3.[0-9])
    echo "procmem needs Python 3.10 or newer, $python is $version:" \
        "install a newer one and name it, as in: make PYTHON=python3.12"
    exit
    ;;
*)
    have_python=1
    # On Debian the module venv is there without what it needs.
    "$python" -c 'import venv, ensurepip; ensurepip.version()' 2>/dev/null ||
        lacks "the venv module" "$name-venv" "$name" python3 python python3
    ;;
esac

compiler=${CC:-}
if [ -z "$compiler" ] && [ -n "$have_python" ]; then
    compiler=$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("CC") or "cc")')
fi
compiles() { # the source is standard input; the variable may hold options
    # shellcheck disable=SC2086
    ${compiler:-cc} "$@" -fsyntax-only -x c - 2>/dev/null
}
have_compiler=
if ! echo 'int main(void);' | compiles; then
    lacks "a C compiler (${compiler:-cc})" "gcc libc6-dev" gcc "gcc musl-dev" gcc gcc
elif ! echo '#include <stdio.h>' | compiles; then
    have_compiler=1
    lacks "the headers of the C library" libc6-dev glibc-devel musl-dev glibc glibc-devel
else
    have_compiler=1
fi

if [ -n "$have_python" ]; then
    include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    if [ ! -e "$include/Python.h" ]; then
        lacks "Python.h" "$name-dev" "$name-devel" python3-dev python python3-devel
    elif [ -n "$have_compiler" ] && echo '#include <stdio.h>' | compiles &&
        ! echo '#include <Python.h>' | compiles "-I$include"; then
        # Debian keeps pyconfig.h in a package of its own.
        lacks "a usable Python.h" "$name-dev" "$name-devel" python3-dev python python3-devel
    fi
elif [ -z "$version" ]; then
    lacks "its headers and its venv module" "$name-dev $name-venv" "$name-devel" python3-dev '' \
        python3-devel
fi

[ -n "$missing" ] || exit 0

sudo=
[ "$(id -u)" = 0 ] || sudo='sudo '
if command -v apt-get >/dev/null; then
    how="${sudo}apt-get install$debian"
elif command -v dnf >/dev/null; then
    how="${sudo}dnf install$fedora"
elif command -v apk >/dev/null; then
    how="${sudo}apk add$alpine"
elif command -v pacman >/dev/null; then
    how="${sudo}pacman -S$arch"
elif command -v zypper >/dev/null; then
    how="${sudo}zypper install$suse"
else
    how="the package manager (on Debian: apt-get install$debian)"
fi
# The command is cleaned of the gaps that empty names leave.
echo "procmem is missing $missing; install with:" $how
