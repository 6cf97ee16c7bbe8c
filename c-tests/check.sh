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
    trap_short_deadline) echo LINGER_TIMEOUT_MS=500 LINGER_IDLE_MS=120000 ;;
    api_outcomes) echo LINGER_IDLE_MS=300 ;;
    esac
}

# The interface's own programs have nothing to ask where there is no library.
runs_in() {
    case $1-$2 in
    api_*-bare) return 1 ;;
    esac
    bears_sanitizer "$1" "$2" || {
        echo "left out with SANITIZE=$SANITIZE: $2 $1"
        return 1
    }
}

# What cannot be had with a sanitizer in the program, and why. Nothing here is left out of a run without one.
bears_sanitizer() {
    case ${SANITIZE:-}-$2-$1 in
    # They take threads and memory away, which the runtimes need themselves.
    *address-*-trap_exhaustion | *thread-*-trap_exhaustion) return 1 ;;
    # They forbid themselves system calls the runtimes make.
    *address-*-way_sandbox | *thread-*-way_sandbox) return 1 ;;
    # They preload other libraries before the runtime, and a program built with its own.
    *address-*-way_stacked | *thread-*-way_stacked | *address-*-way_constructor | rust-thread-*-way_constructor | \
        *address-*-trap_meanwhile | *thread-*-trap_meanwhile) return 1 ;;
    # The shell they start has no runtime, or does not bear one.
    thread-preload-trap_exec | thread-preload-way_spawn | thread-preload-way_private_inheritance) return 1 ;;
    rust-*-trap_exec | rust-*-way_spawn | rust-*-way_private_inheritance) return 1 ;;
    # The runtime has a thread of its own, which outlives the program's last.
    *thread-*-way_exit | *thread-*-trap_first_thread) return 1 ;;
    # The runtime does not know the first thread, and refuses to let anybody join it.
    rust-address-*-trap_first_thread) return 1 ;;
    # Two threads use one descriptor, its subject; tsan.supp needs names, which only an instrumented program has.
    rust-thread-*-trap_other_thread | rust-thread-*-trap_double_close) return 1 ;;
    # Who looks for leaks would be the first process of the namespace; and in a child with its parent's number the runtimes do not
    # always get a new thread to start.
    *address-*-trap_process_namespace | *thread-*-trap_process_namespace) return 1 ;;
    # The runtime wants more of an alternate stack than the smallest one has.
    *thread-*-way_handlers | rust-address-*-way_handlers) return 1 ;;
    esac
}

# SIGSEGV: a handler that may nest, as the runtimes install one, makes the library doubt whether it runs in a handler
# (src/interruption.rs), which costs a connection its drain. Core: an instrumented liblinger.so has the runtime call
# our setrlimit before there is a shadow memory.
common=disable_coredump=0:handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:handle_abort=0

sanitizer_settings_of() {
    # What a thread that is cancelled or a process that ends abruptly had open is leaked: that is their subject.
    case ${SANITIZE:-}-$1 in
    *-way_cancel | *-way_stdio) leaks=0 ;;
    *) leaks=1 ;;
    esac
    case ${SANITIZE:-} in
    # The stack of the library must be the stack: src/interruption.rs looks through it.
    rust-address) echo "ASAN_OPTIONS=$common:detect_leaks=0:detect_stack_use_after_return=0" ;;
    address) echo "ASAN_OPTIONS=$common:detect_leaks=$leaks" ;;
    undefined) echo "UBSAN_OPTIONS=$common:print_stacktrace=1" ;;
    # A child of a process with threads starts a drain thread of its own, and some programs end with a thread running:
    # the runtime would object to both.
    *thread) echo "TSAN_OPTIONS=$common:die_after_fork=0:report_thread_leaks=0:suppressions=$PWD/tsan.supp" ;;
    esac
}

valgrind_options() {
    case $VALGRIND in
    memcheck) echo --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite ;;
    esac
}

run() {
    program=$1 mode=$2
    case $mode in
    bare) set -- "$out/bare/$program" ;;
    preload) set -- LD_PRELOAD="$runtime$library" "$out/bare/$program" ;;
    linked) set -- LD_LIBRARY_PATH="$out/lib" "$out/linked/$program" ;;
    esac
    # VALGRIND: a tool of valgrind's to run the programs under.
    if [ -n "${VALGRIND:-}" ]; then
        eval "last=\${$#}"
        [ "$mode" = preload ] && set -- LD_PRELOAD="$library" || set -- LD_LIBRARY_PATH="$out/lib"
        # shellcheck disable=SC2046 # options are words
        set -- "$@" valgrind -q --tool="$VALGRIND" --error-exitcode=99 --trace-children=yes \
            --suppressions="$PWD/valgrind.supp" $(valgrind_options) "$last"
    fi
    # shellcheck disable=SC2046 # settings are words
    timeout -k 5 300 env LINGER_TEST_MODE="$mode" $(settings_of "$program") \
        $(sanitizer_settings_of "$program") "$@"
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

# The runtime of gcc's sanitizers must come before all else that is preloaded.
case ${SANITIZE:-} in
# rust-*: in the programs, see scripts/sanitize-rust.
'' | rust-address | rust-thread) runtime='' ;;
address) runtime="$(realpath "$(cc -print-file-name=libasan.so)") " ;;
undefined) runtime="$(realpath "$(cc -print-file-name=libubsan.so)") " ;;
thread) runtime="$(realpath "$(cc -print-file-name=libtsan.so)") " ;;
*)
    echo "SANITIZE is '$SANITIZE', not address, undefined, thread, rust-address or rust-thread" >&2
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
