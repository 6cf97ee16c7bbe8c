# Packages for Debian and for RPM-based systems, and cargo-c. `scripts/install-tools packaging` installs what they need.

PACKAGES := target/package
MULTIARCH := $(shell $(CC) -print-multiarch 2>/dev/null)

.PHONY: deb deb-test rpm rpm-test cinstall-check packages-test

# What `make install` installs is what is packed: there is one list of files, that of the Makefile.
# $(1): where; $(2): variables of install
define stage-package
	rm -rf $(PACKAGES)/$(1)
	$(MAKE) -s install DESTDIR=$(PACKAGES)/$(1) PREFIX=/usr $(2)
	@test -x $(PACKAGES)/$(1)/usr/bin/linger || { echo 'make install installs no linger command: nothing to pack' >&2; exit 1; }
	strip --strip-unneeded --remove-section=.comment $(PACKAGES)/$(1)/usr/bin/linger $(PACKAGES)/$(1)/usr/lib*/$(3)liblinger.so.$(VERSION)
	strip --strip-debug --remove-section=.llvmbc --remove-section=.llvmcmd --enable-deterministic-archives $(PACKAGES)/$(1)/usr/lib*/$(3)liblinger.a
endef

deb: all ## Build the Debian packages liblinger0, liblinger-dev and linger into target/debian
	@grep -q '^liblinger ($(VERSION)-1) ' packaging/debian/changelog \
	  && [ "$$(grep -c 'liblinger0 (= $(VERSION)-1)' shim/Cargo.toml)" -eq 2 ] \
	  || { echo 'packaging/debian/changelog or shim/Cargo.toml is of another version than $(VERSION)-1' >&2; exit 1; }
	$(call stage-package,deb,LIBDIR=/usr/lib/$(MULTIARCH) ZSH_COMPLETIONS=/usr/share/zsh/vendor-completions,$(MULTIARCH)/)
	rm -rf target/debian
	for variant in library dev command; do \
	  $(CARGO) deb -q --no-build --no-strip -p linger-shim --variant=$$variant || exit 1; done
	packaging/debian/finish target/debian/liblinger0_$(VERSION)-*.deb
	lintian --allow-root --fail-on error --suppress-tags initial-upload-closes-no-bugs target/debian/*.deb

deb-test: deb ## Install the Debian packages in an overlay, serve with them, remove them
	packaging/debian/test target/debian

rpm: all ## Build the RPM packages liblinger, liblinger-devel and linger into target/rpm
	$(call stage-package,rpm,LIBDIR=/usr/lib64,)
	rm -rf target/rpm
	rpmbuild -bb --quiet --define '_topdir $(CURDIR)/target/rpm/build' --define '_rpmdir $(CURDIR)/target/rpm' \
	  --define 'staged $(CURDIR)/$(PACKAGES)/rpm' --define 'sources $(CURDIR)' --define 'version_of_cargo $(VERSION)' \
	  packaging/rpm/liblinger.spec

rpm-test: rpm ## Look into the RPM packages, and install them into an empty root
	packaging/rpm/test target/rpm

cinstall-check: all ## See that cargo cinstall installs what make install does
	scripts/check-cinstall

packages-test: deb-test rpm-test cinstall-check ## Try everything that is packed
