# liblinger: build, test, install. `make help` lists the targets.

PREFIX ?= /usr/local
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
SHARED := liblinger.so.$(VERSION)

.PHONY: all man demo test check header c-tests install uninstall clean help tools format lint header-check \
        symbols-check licences unit loom e2e linked-tests

all: ## Build everything into target/release
	$(CARGO) build --release --workspace
	@$(MAKE) -s man

man: ## Build the manual pages (needs scdoc)
	@mkdir -p $(MAN)
	@if command -v scdoc >/dev/null; then \
	  for page in liblinger.7 linger_close.3; do scdoc < man/$$page.scd > $(MAN)/$$page || exit 1; done; \
	else echo 'no scdoc, no manual pages: apt-get install scdoc'; fi

help: ## Say what the targets do
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  make %-14s %s\n", $$1, $$2 }'
	@echo
	@echo '  Variables of install: DESTDIR= PREFIX=$(PREFIX) LIBDIR=$$(PREFIX)/lib INCLUDEDIR=$$(PREFIX)/include'

demo: all ## Show what a broken close loses and what liblinger saves
	$(OUT)/linger-demo

tools: ## Install what the tests and checks need (Debian and Ubuntu, as root)
	scripts/install-tools

test: tools all unit loom c-tests linked-tests e2e ## Run all tests
	@echo 'all tests passed'

unit: ## Pure logic: tables and properties
	$(CARGO) test -p linger

loom: ## The drain thread's life under every interleaving
	RUSTFLAGS='--cfg loom' CARGO_TARGET_DIR=target/loom $(CARGO) test --release -p linger --lib

c-tests: all ## C programs: bare, preloaded, linked
	$(MAKE) -C c-tests check

linked-tests: all ## C and C++ servers built through an installed linger.pc
	rm -rf target/stage
	$(MAKE) install PREFIX=$(CURDIR)/target/stage DESTDIR=
	$(MAKE) -C c-tests check-linked-pc PREFIX=$(CURDIR)/target/stage

# The tests are built without optimisation: what they test is the release build of the library.
e2e: all ## Real servers
	$(CARGO) test -p linger-testbed --no-fail-fast

check: format lint header-check symbols-check licences ## What CI checks besides the tests

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

licences:
	$(CARGO) deny check licenses bans sources

install: ## Install library, header, linger.pc and manual pages
	@test -e $(OUT)/liblinger.so || { echo 'nothing to install yet: run make first'; exit 1; }
	$(INSTALL) -d '$(DESTDIR)$(LIBDIR)/pkgconfig' '$(DESTDIR)$(INCLUDEDIR)'
	$(INSTALL) -m 755 $(OUT)/liblinger.so '$(DESTDIR)$(LIBDIR)/$(SHARED)'
	ln -sf $(SHARED) '$(DESTDIR)$(LIBDIR)/liblinger.so.$(SOVERSION)'
	ln -sf liblinger.so.$(SOVERSION) '$(DESTDIR)$(LIBDIR)/liblinger.so'
	$(INSTALL) -m 644 $(OUT)/liblinger.a '$(DESTDIR)$(LIBDIR)/liblinger.a'
	$(INSTALL) -m 644 include/linger.h '$(DESTDIR)$(INCLUDEDIR)/linger.h'
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' \
	    -e 's|@VERSION@|$(VERSION)|' linger.pc.in > '$(DESTDIR)$(LIBDIR)/pkgconfig/linger.pc'
	chmod 644 '$(DESTDIR)$(LIBDIR)/pkgconfig/linger.pc'
	@for page in $(wildcard $(MAN)/*.[37]); do \
	  $(INSTALL) -D -m 644 $$page "$(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/}"; done

uninstall: ## Remove what install put there
	rm -f '$(DESTDIR)$(LIBDIR)/$(SHARED)' '$(DESTDIR)$(LIBDIR)/liblinger.so.$(SOVERSION)' \
	  '$(DESTDIR)$(LIBDIR)/liblinger.so' '$(DESTDIR)$(LIBDIR)/liblinger.a' \
	  '$(DESTDIR)$(INCLUDEDIR)/linger.h' '$(DESTDIR)$(LIBDIR)/pkgconfig/linger.pc' \
	  '$(DESTDIR)$(MANDIR)/man7/liblinger.7' '$(DESTDIR)$(MANDIR)/man3/linger_close.3'

clean: ## Remove what was built
	$(CARGO) clean

include scripts/watching.mk
