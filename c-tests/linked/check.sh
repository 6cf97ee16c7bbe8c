#!/bin/sh
# check.sh PREFIX OUT: builds servers the way users of an installed liblinger do, and
# proves that linger_close() saves their responses, that close() in the same program is
# libc's and still loses them, and that liblinger.a serves as well as liblinger.so.
set -eu

prefix=$1 out=$2
here=$(dirname "$0")
response_bytes=131072
passed=0 failed=0
mkdir -p "$out"

PKG_CONFIG_PATH=$prefix/lib/pkgconfig:$prefix/lib64/pkgconfig:$prefix/share/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
export PKG_CONFIG_PATH
cflags=$(pkg-config --cflags linger)
shared=$(pkg-config --libs linger)
# both libraries lie in one directory, and a linker takes the shared one for -llinger
static=$(pkg-config --static --libs linger | sed 's/-llinger/-l:liblinger.a/')
LD_LIBRARY_PATH=$(pkg-config --variable=libdir linger)
export LD_LIBRARY_PATH
unset LD_PRELOAD

note() {
    if [ "$1" = ok ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
    echo "$1    linked-pc $2"
}

# shellcheck disable=SC2086 # flags are words
build() {
    warnings="-Wall -Wextra -Werror -D_GNU_SOURCE -O1 -g"
    ${CC:-cc} -std=c17 $warnings "$here/client.c" -o "$out/client"
    for way in shared static; do
        eval "libraries=\$$way"
        ${CC:-cc} -std=c17 $warnings $cflags "$here/epoll_server.c" -o "$out/epoll_server-$way" $libraries
        ${CXX:-c++} -std=c++17 $warnings $cflags "$here/raii_server.cc" -o "$out/raii_server-$way" $libraries
    done
}

needs_library() {
    ldd "$1" | grep -q 'liblinger\.so\.0'
}

prove_linking() {
    for server in epoll_server raii_server; do
        if needs_library "$out/$server-shared"; then
            note ok "$server needs liblinger.so.0"
        else
            note FAIL "$server does not need liblinger.so.0"
        fi
        if needs_library "$out/$server-static"; then
            note FAIL "$server-static needs liblinger.so.0"
        else
            note ok "$server-static needs no liblinger.so"
        fi
    done
}

# Starts "$@" with its input held open on descriptor 9; its port is in $port.
start_server() {
    rm -f "$out/input" "$out/port"
    mkfifo "$out/input" "$out/port"
    timeout 60 "$@" <"$out/input" >"$out/port" 9>&- &
    server_pid=$!
    exec 9>"$out/input"
    read -r port <"$out/port"
}

# Its input ends: it flushes what lingers and returns.
stop_server() {
    exec 9>&-
    wait "$server_pid"
}

# server way-of-letting-go expectation
prove() {
    start_server "$out/$1" "$2"
    if saw=$("$out/client" "$port" "$response_bytes"); then fate=saved; else fate=reset; fi
    if stop_server && [ "$fate" = "$3" ]; then
        note ok "$1 $2: $fate ($saw)"
    else
        note FAIL "$1 $2: $fate ($saw), expected $3"
    fi
}

# Every call about a connection, from its accept on: with the library linked, close()
# must be the one system call it was.
calls_of() {
    start_server strace -qq -e trace=accept4,close,shutdown,getsockopt,setsockopt,recvfrom,recvmsg,sendmsg,write,epoll_ctl \
        -o "$out/trace" "$@"
    "$out/client" "$port" "$response_bytes" >/dev/null || true
    stop_server || true
    sed -n '/^accept4/,$p' "$out/trace" | sed 's/(.*//' | tr '\n' ' '
}

prove_call_for_call() {
    if ! strace -qq -o /dev/null true 2>"$out/strace"; then
        note FAIL "strace does not work, so call for call was not looked at (apt-get install strace; allow ptrace): $(head -n 1 "$out/strace")"
        return
    fi
    expected="accept4 setsockopt epoll_ctl write close "
    for way in shared static; do
        saw=$(calls_of "$out/epoll_server-$way" close)
        if [ "$saw" = "$expected" ]; then
            note ok "epoll_server-$way close: call for call libc's"
        else
            note FAIL "epoll_server-$way close: $saw, expected $expected"
        fi
    done
}

build
prove_linking
for server in epoll_server raii_server; do
    for way in shared static; do
        prove "$server-$way" linger saved
        prove "$server-$way" close reset
    done
done
prove_call_for_call

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
