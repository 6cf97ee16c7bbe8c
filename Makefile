# liblinger: build, test, install. `make help` lists the targets.

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
DESTDIR ?=
CARGO ?= cargo
INSTALL ?= install

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
SOVERSION := 0
MANDIR ?= $(PREFIX)/share/man
OUT := target/release
MAN := $(OUT)/man
COMPLETIONS := $(OUT)/completions
BASH_COMPLETIONS ?= $(PREFIX)/share/bash-completion/completions
ZSH_COMPLETIONS ?= $(PREFIX)/share/zsh/site-functions
FISH_COMPLETIONS ?= $(PREFIX)/share/fish/vendor_completions.d
PAGES := $(patsubst man/%.scd,%,$(wildcard man/*.scd))
SHARED := liblinger.so.$(VERSION)
# For who links liblinger.a. All but libm are empty since glibc 2.34. Not -lgcc_s: compilers add it by themselves, and with
# -static its archive, which has another name.
PRIVATE_LIBRARIES := -lutil -lrt -lpthread -lm -ldl
FILL_IN = sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' \
  -e 's|@VERSION@|$(VERSION)|' -e 's|@SOVERSION@|$(SOVERSION)|' \
  -e "s|@INCLUDEDIR_FROM_LIBDIR@|$$(realpath -m --relative-to='$(LIBDIR)' '$(INCLUDEDIR)')|" \
  -e 's|@PRIVATE_LIBRARIES@|$(PRIVATE_LIBRARIES)|'

.PHONY: all man completions demo as-root test check header c-tests install uninstall clean help tools format lint header-check \
        symbols-check licences unit loom e2e linked-tests cli-tests man-check hpp-check doc-check install-check \
        bench bench-quick transparency soak attack recipes-check faults faults-library faults-library-release

all: ## Build everything into target/release
	$(CARGO) build --release --workspace --exclude linger-examples
	@$(MAKE) -s man completions

man: ## Build the manual pages (needs scdoc)
	@mkdir -p $(MAN)
	@if command -v scdoc >/dev/null; then \
	  for page in $(PAGES); do scdoc < man/$$page.scd > $(MAN)/$$page || exit 1; done; \
	else echo 'no scdoc, no manual pages: apt-get install scdoc'; fi

completions: ## Write the completion scripts of bash, zsh and fish
	@mkdir -p $(COMPLETIONS)
	@$(OUT)/linger completions bash > $(COMPLETIONS)/linger
	@$(OUT)/linger completions zsh > $(COMPLETIONS)/_linger
	@$(OUT)/linger completions fish > $(COMPLETIONS)/linger.fish

help: ## Say what the targets do
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  make %-14s %s\n", $$1, $$2 }'
	@echo
	@echo '  Variables of install: DESTDIR= PREFIX=$(PREFIX) BINDIR=$$(PREFIX)/bin LIBDIR=$$(PREFIX)/lib INCLUDEDIR=$$(PREFIX)/include'

demo: all ## Show what a broken close loses and what liblinger saves
	$(OUT)/linger demo

tools: ## Install what the tests and checks need (Debian and Ubuntu, as root)
	scripts/install-tools

# Not for the C tests and the founding cases, which make do with a user namespace.
as-root:
	@test "$$(id -u)" -eq 0 || { echo 'some servers under test change their user: run  sudo env "PATH=$$PATH" "HOME=$$HOME" make test' >&2; exit 1; }

test: as-root tools all unit loom c-tests linked-tests examples-test cli-tests e2e recipes-check bench-quick ## Run all tests
	@echo 'all tests passed'

unit: ## Pure logic: tables and properties
	$(CARGO) test -p linger

loom: ## The drain thread's life under every interleaving
	RUSTFLAGS='--cfg loom' CARGO_TARGET_DIR=target/loom $(CARGO) test --release -p linger --lib

c-tests: all ## C programs: bare, preloaded, linked
	$(MAKE) -C c-tests check

# Where the examples and the tests of the installation find an installed library.
STAGE := $(CURDIR)/target/stage
FROM_STAGE := PKG_CONFIG_PATH='$(STAGE)/lib/pkgconfig' LD_LIBRARY_PATH='$(STAGE)/lib'

.PHONY: stage examples examples-test
stage: all
	rm -rf '$(STAGE)'
	$(MAKE) -s install PREFIX='$(STAGE)' DESTDIR=

examples: stage ## Build the examples, through an installed linger.pc
	$(FROM_STAGE) $(MAKE) -C examples all

examples-test: stage ## See what the examples lose with close(), and save with liblinger
	$(FROM_STAGE) $(MAKE) -C examples test

linked-tests: stage ## C and C++ servers built through an installed linger.pc
	$(MAKE) -C c-tests check-linked-pc PREFIX='$(STAGE)'

cli-tests: all ## The linger command, as built and as installed
	$(CARGO) test -p linger-cli --no-fail-fast

# The tests are built without optimisation: what they test is the release build of the library.
e2e: all faults-library ## Real servers
	$(CARGO) test -p linger-testbed --no-fail-fast

recipes-check: all ## The commands and files of docs/recipes, without the library and with it
	scripts/check-recipes

transparency: all ## Programs with tests of their own, bare and under the shim: a quarter of an hour
	$(CARGO) test -p linger-testbed --no-fail-fast --test 'transparent_*' --test ways_cpython \
	  --test 'must_hold_calls*' --test must_hold_untouched -- \
	  --include-ignored --nocapture

soak: all ## Servers with every kind of peer, for SOAK_S seconds, 600 by default
	SOAK_S=$${SOAK_S:-600} $(CARGO) test -p linger-testbed --test soak -- --nocapture

attack: all ## What attackers can cost a server, and that every limit holds: six minutes
	$(OUT)/linger-attack

bench: tools all ## Measure every figure on a quiet machine, a quarter of an hour: bench/REPORT.md
	$(CARGO) bench -p linger-bench --bench engine
	$(OUT)/linger-bench

bench-quick: all ## See that every figure can be measured; what comes out, in target/bench-quick, means nothing
	$(CARGO) test -p linger-bench --lib
	$(OUT)/linger-bench --quick

# Not optimised, with overflow checks.
faults-library:
	RUSTFLAGS='--cfg linger_faults' $(CARGO) build -p linger-shim --target-dir target/faults

# As it is installed: what a panic does is decided by the profile.
faults-library-release:
	RUSTFLAGS='--cfg linger_faults' $(CARGO) build --release -p linger-shim --target-dir target/faults

faults: all faults-library faults-library-release ## Every failure of every system call, injected; FAULTS_SEED=N has the same random ones again, FAULTS_ONLY=recvm those of some calls
	RUSTFLAGS='--cfg linger_faults' $(CARGO) test -p linger --lib --target-dir target/faults faults
	$(CARGO) test -p linger-testbed --no-fail-fast --test 'faults*' -- --include-ignored --nocapture

check: format lint header-check symbols-check licences man-check hpp-check doc-check install-check ## What CI checks besides the tests

format:
	$(CARGO) fmt --all --check

lint:
	$(CARGO) clippy --workspace --all-targets -- -D warnings

header: ## Regenerate include/linger.h
	$(CARGO) build -q --features header -p linger --target-dir target/header 2>/dev/null
	cp "$$(ls -t target/header/debug/build/linger-*/out/linger.h | head -n 1)" include/linger.h

header-check:
	$(CARGO) build -q --features header -p linger --target-dir target/header 2>/dev/null
	@diff -u include/linger.h "$$(ls -t target/header/debug/build/linger-*/out/linger.h | head -n 1)" \
	  || { echo 'include/linger.h is out of date: run make header'; exit 1; }

symbols-check: all
	scripts/check-symbols $(OUT)/liblinger.so shim/symbols.txt

man-check: man
	scripts/check-man $(MAN) include/linger.h

hpp-check: all
	scripts/check-hpp $(OUT)

install-check: all
	scripts/check-install

doc-check:
	RUSTDOCFLAGS='-D rustdoc::broken_intra_doc_links -A rustdoc::private_intra_doc_links' $(CARGO) doc -q -p linger --no-deps

licences:
	$(CARGO) deny check licenses bans sources

install: ## Install the command, libraries, headers, linger.pc, CMake package and manual pages
	@test -e $(OUT)/liblinger.so || { echo 'nothing to install yet: run make first'; exit 1; }
	$(INSTALL) -d '$(DESTDIR)$(BINDIR)' '$(DESTDIR)$(LIBDIR)/pkgconfig' '$(DESTDIR)$(LIBDIR)/cmake/linger' \
	  '$(DESTDIR)$(INCLUDEDIR)'
	$(INSTALL) -m 755 $(OUT)/linger '$(DESTDIR)$(BINDIR)/linger'
	$(INSTALL) -m 755 $(OUT)/liblinger.so '$(DESTDIR)$(LIBDIR)/$(SHARED)'
	ln -sf $(SHARED) '$(DESTDIR)$(LIBDIR)/liblinger.so.$(SOVERSION)'
	ln -sf liblinger.so.$(SOVERSION) '$(DESTDIR)$(LIBDIR)/liblinger.so'
	$(INSTALL) -m 644 $(OUT)/liblinger.a '$(DESTDIR)$(LIBDIR)/liblinger.a'
	$(INSTALL) -m 644 include/linger.h include/linger.hpp '$(DESTDIR)$(INCLUDEDIR)'
	$(FILL_IN) linger.pc.in > '$(DESTDIR)$(LIBDIR)/pkgconfig/linger.pc'
	$(FILL_IN) cmake/lingerConfig.cmake.in > '$(DESTDIR)$(LIBDIR)/cmake/linger/lingerConfig.cmake'
	$(FILL_IN) cmake/lingerConfigVersion.cmake.in > '$(DESTDIR)$(LIBDIR)/cmake/linger/lingerConfigVersion.cmake'
	chmod 644 '$(DESTDIR)$(LIBDIR)'/pkgconfig/linger.pc '$(DESTDIR)$(LIBDIR)'/cmake/linger/*
	@for page in $(PAGES); do test ! -e $(MAN)/$$page || \
	  $(INSTALL) -D -m 644 $(MAN)/$$page "$(DESTDIR)$(MANDIR)/man$${page##*.}/$$page" || exit 1; done
	$(INSTALL) -D -m 644 $(COMPLETIONS)/linger '$(DESTDIR)$(BASH_COMPLETIONS)/linger'
	$(INSTALL) -D -m 644 $(COMPLETIONS)/_linger '$(DESTDIR)$(ZSH_COMPLETIONS)/_linger'
	$(INSTALL) -D -m 644 $(COMPLETIONS)/linger.fish '$(DESTDIR)$(FISH_COMPLETIONS)/linger.fish'

uninstall: ## Remove what install put there
	rm -f '$(DESTDIR)$(LIBDIR)/$(SHARED)' '$(DESTDIR)$(LIBDIR)/liblinger.so.$(SOVERSION)' \
	  '$(DESTDIR)$(LIBDIR)/liblinger.so' '$(DESTDIR)$(LIBDIR)/liblinger.a' \
	  '$(DESTDIR)$(INCLUDEDIR)/linger.h' '$(DESTDIR)$(INCLUDEDIR)/linger.hpp' \
	  '$(DESTDIR)$(LIBDIR)/pkgconfig/linger.pc' '$(DESTDIR)$(BINDIR)/linger' '$(DESTDIR)$(BASH_COMPLETIONS)/linger' \
	  '$(DESTDIR)$(ZSH_COMPLETIONS)/_linger' '$(DESTDIR)$(FISH_COMPLETIONS)/linger.fish'
	rm -rf '$(DESTDIR)$(LIBDIR)/cmake/linger'
	@for page in $(PAGES); do rm -f "$(DESTDIR)$(MANDIR)/man$${page##*.}/$$page"; done

include packages.mk

clean: ## Remove what was built
	$(CARGO) clean

include scripts/watching.mk
