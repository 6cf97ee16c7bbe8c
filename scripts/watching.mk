# Targets that watch over the library: sanitizers, valgrind, fuzzing, coverage, and what programs built before rely on.
# Included by Makefile.

.PHONY: siblings-check abi-check abi-accept sanitize sanitize-c sanitize-rust valgrind fuzz fuzz-hooks fuzz-short coverage loom-fds

check: siblings-check abi-check
test: fuzz-short
loom: loom-fds

siblings-check: all
	scripts/check-siblings $(OUT)/liblinger.so shim/symbols.txt

abi-check: all ## The C interface against the last release, or the committed one: additions pass, changes do not
	scripts/check-abi $(OUT)/liblinger.so include/linger.h abi/liblinger.so.$(SOVERSION)

abi-accept: all ## Make the C interface of now the one that the next release promises
	scripts/check-abi $(OUT)/liblinger.so include/linger.h abi/liblinger.so.$(SOVERSION) --accept

loom-fds:
	RUSTFLAGS='--cfg loom' CARGO_TARGET_DIR=target/loom $(CARGO) test --release -p linger-shim --test fds_interleavings

sanitize: sanitize-c sanitize-rust ## The C tests and the library under address, undefined behaviour and thread sanitizers

sanitize-c: all
	for sanitizer in undefined address thread; do $(MAKE) -C c-tests check SANITIZE=$$sanitizer || exit 1; done

sanitize-rust:
	for sanitizer in address thread; do scripts/sanitize-rust $$sanitizer || exit 1; done

# Not borne by valgrind 3.19: taking descriptors, threads and memory away, which it needs itself (trap_exhaustion, trap_sweep);
# sandboxes (way_sandbox); other libraries before it, or a sanitizer (way_constructor, way_stacked); inetd's ways with the standard
# streams (way_replace); a child held up in the middle of a close (trap_delayed_close); what is told of descriptors that
# valgrind has as well (way_private_inheritance); pidfd_open(2) (way_private_table); and thousands of processes (trap_relay).
# And under helgrind programs whose own threads speak through atomics.
MEMCHECK = trap_late_bytes trap_fin_here trap_epoll trap_signal trap_families trap_lost_peer trap_so_linger trap_untouched \
           trap_blocking trap_cancel trap_clock trap_clone trap_daemon trap_double_close trap_exec trap_fork trap_handed_on \
           trap_other_thread way_bulk way_cancel way_exit way_handlers way_privilege way_shutdown way_spawn way_stdio \
           way_syscall api_arguments api_outcomes api_waiting letting_go stress_exclusivity
HELGRIND = trap_late_bytes trap_double_close trap_signal trap_blocking trap_families trap_fin_here trap_lost_peer trap_fork \
           trap_handed_on trap_daemon trap_clone way_syscall way_bulk api_arguments letting_go

valgrind: all ## A selection of the C tests under memcheck and helgrind
	$(MAKE) -C c-tests all-bare
	cd c-tests && VALGRIND=memcheck ./check.sh ../target/c-tests ../$(OUT)/liblinger.so preload $(MEMCHECK)
	cd c-tests && VALGRIND=helgrind ./check.sh ../target/c-tests ../$(OUT)/liblinger.so preload $(HELGRIND)

# RUSTC_BOOTSTRAP: cargo-fuzz wants -Z flags; this makes a nightly compiler of any.
FUZZ_S ?= 60
FUZZ = RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$(CURDIR)/target/fuzz $(CARGO) fuzz
HOOKS = CARGO_TARGET_DIR=$(CURDIR)/target/fuzz $(CARGO) run -q --manifest-path fuzz/hooks/Cargo.toml --

fuzz: fuzz-hooks ## Fuzz what is read and what is hooked, FUZZ_S=60 seconds each (needs cargo-fuzz)
	@command -v cargo-fuzz >/dev/null || { echo 'cargo-fuzz is missing: cargo install --locked cargo-fuzz'; exit 1; }
	for target in messages published settings; do \
	  $(FUZZ) run --fuzz-dir fuzz $$target fuzz/corpus/$$target -- -max_total_time=$(FUZZ_S) || exit 1; done

fuzz-hooks: all
	FUZZ_S=$(FUZZ_S) $(HOOKS) $(OUT)/liblinger.so

# Few, and always the same.
fuzz-short: all
	FUZZ_SEED=1 FUZZ_CASES=60 $(HOOKS) $(OUT)/liblinger.so

coverage: ## Lines of src/ and shim/src that the tests run, at least 85 in a hundred
	scripts/coverage 85
