#!/bin/sh
# check.sh OUT LIBRARY "MODES" PROGRAM...: runs every program in every mode, one line
# each, and sums up cmocka's tests. A test that was started, or should have been, and
# did not say OK has failed: that counts what a crash left unrun as well.
set -u

out=$1 library=$2 modes=$3
shift 3
logs=$out/logs
mkdir -p "$logs" "$out/lib"
passed=0 failed=0

# Only where a test waits for a limit to pass, or is about extreme ones.
settings_of() {
    case $1 in
    trap_lost_peer) echo LINGER_TIMEOUT_MS=1500 LINGER_IDLE_MS=300 LINGER_MAX_MS=2000 ;;
    trap_clock) echo LINGER_TIMEOUT_MS=2147483647 LINGER_IDLE_MS=2147483647 \
        LINGER_MAX_MS=2147483647 LINGER_EXIT_MS=2147483647 ;;
    api_outcomes) echo LINGER_IDLE_MS=300 ;;
    esac
}

# The interface's own programs have nothing to ask where there is no library.
runs_in() {
    case $1-$2 in
    api_*-bare) return 1 ;;
    esac
}

run() {
    program=$1 mode=$2
    case $mode in
    bare) set -- "$out/bare/$program" ;;
    preload) set -- LD_PRELOAD="$runtime$library" "$out/bare/$program" ;;
    linked) set -- LD_LIBRARY_PATH="$out/lib" "$out/linked/$program" ;;
    esac
    # shellcheck disable=SC2046 # settings are words
    timeout -k 5 300 env LINGER_TEST_MODE="$mode" $(settings_of "$program") "$@"
}

count() {
    grep -c "$1" "$2"
}

report() {
    program=$1 mode=$2 status=$3 log=$4
    tests=$(sed -n 's/^\[==========\] Running \([0-9]*\) test(s).*/\1/p' "$log" | head -n 1)
    ok=$(count '^\[       OK \]' "$log")
    # A test that runs another program has that one's lines in its log: then cmocka's
    # own count, its exit status, decides.
    if [ "$ok" -gt "${tests:-0}" ]; then ok=$((tests > status ? tests - status : 0)); fi
    bad=$((${tests:-1} - ok))
    if [ "$bad" -eq 0 ] && [ "$status" -ne 0 ]; then bad=1; fi
    passed=$((passed + ok)) failed=$((failed + bad))
    if [ "$bad" -eq 0 ]; then
        echo "ok    $mode $program: $ok"
    else
        echo "FAIL  $mode $program: $bad of ${tests:-?} (exit status $status), $log"
        grep -a -E 'FAILED|ERROR|errno:|error:' "$log" | sed 's/^/      /'
    fi
}

# A sanitizer's runtime must come before all else that is preloaded.
case ${SANITIZE:-} in
'') runtime='' ;;
address) runtime="$(realpath "$(cc -print-file-name=libasan.so)") " ;;
undefined) runtime="$(realpath "$(cc -print-file-name=libubsan.so)") " ;;
thread) runtime="$(realpath "$(cc -print-file-name=libtsan.so)") " ;;
*)
    echo "SANITIZE is '$SANITIZE', not address, undefined or thread" >&2
    exit 2
    ;;
esac

# The loader looks for the SONAME, the build makes only the plain name.
if [ -e "$library" ]; then
    library=$(realpath "$library")
    ln -sf "$library" "$out/lib/liblinger.so.0"
fi

for mode in $modes; do
    for program in "$@"; do
        runs_in "$program" "$mode" || continue
        log=$logs/$mode-$program.log
        run "$program" "$mode" >"$log" 2>&1
        report "$program" "$mode" $? "$log"
    done
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
