# SPDX-License-Identifier: Apache-2.0
# A thin front for meson; each target installs what it misses with apt and says so.
#
#   make               build/hanok, and build/qemu-system-x86_64 as its second name
#   make demo          boots Debian's own cloud kernel in it
#   make check         the tests; make check-fast leaves the long guests out
#   make check-long    the long combinations
#   make check-kvm     engine and guests under a real KVM, in a machine that QEMU emulates
#   make check-libvirt real libvirt defines, starts, saves and stops a domain
#   make check-fresh   demo and fast tests in new minimal Debian 12 and 13 systems
#   make bench         the soft engine side by side with QEMU's TCG; BENCH='--quick compilers' chooses
#   make bench-kvm     what a start costs under KVM, beside QEMU's machines (counted, not timed)
#   make fuzz          ten minutes a fuzz target (FUZZ_SECONDS=N changes that)
#   make style         formatting, layers, lengths
#   make install       to PREFIX (default /usr/local), under DESTDIR

BUILD ?= build
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 600

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD) --quiet
	@ln -sf hanok $(BUILD)/qemu-system-x86_64

# Tests are part of the configuration, so what they need is asked for once, here.
$(BUILD)/build.ninja:
	@tools/need.sh build check
	@meson setup --prefix $(PREFIX) $(BUILD) >/dev/null

demo: all
	@tools/need.sh demo
	@tools/demo.sh $(BUILD)

check: all
	@tools/need.sh demo check image
	@tools/check.py $(BUILD)

check-fast: all
	@tools/need.sh demo check
	@tools/check.py --fast $(BUILD)

check-long: all
	@tools/need.sh demo check image
	@tools/check.py --long $(BUILD)

check-kvm: all
	@tools/need.sh demo check bench
	@tools/kvm/check.py $(BUILD)

check-libvirt: all
	@tools/need.sh demo libvirt
	@tools/libvirt/check.py $(BUILD)

check-fresh:
	@tools/need.sh fresh
	@tools/check_fresh.sh bookworm trixie

bench: all
	@tools/need.sh demo bench image
	@bench/compare.py $(BUILD) $(BENCH)

bench-kvm: all
	@tools/need.sh demo check bench
	@bench/kvm.py $(BUILD)

fuzz:
	@tools/need.sh build check gates
	@tools/fuzz.sh $(FUZZ_SECONDS)

style:
	@tools/need.sh build gates
	@tools/style.py

# The prefix may be another one than when the build directory was made.
install: all
	@meson setup --reconfigure --prefix $(PREFIX) $(BUILD) >/dev/null
	@meson install -C $(BUILD) --no-rebuild --quiet
	@mkdir -p $(DESTDIR)$(PREFIX)/lib/hanok
	@ln -sf ../../bin/hanok $(DESTDIR)$(PREFIX)/lib/hanok/qemu-system-x86_64

clean:
	rm -rf $(BUILD) build-*

.PHONY: all demo check check-fast check-long check-kvm check-libvirt check-fresh bench bench-kvm fuzz style install clean
