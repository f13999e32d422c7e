#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs every fuzz target for a while on its corpus; new inputs are merged into the corpus.
#
#	tools/fuzz.sh SECONDS [TARGET...]
set -eu
seconds=$1
shift
[ -f build-fuzz/build.ninja ] || CC=clang meson setup -Dfuzzing=true -Db_lundef=false build-fuzz >/dev/null
ninja -C build-fuzz --quiet
failed=0
for target in build-fuzz/tests/fuzz/*/fuzz-*; do
	[ -x "$target" ] && [ ! -d "$target" ] || continue
	name=$(basename "$target")
	name=${name#fuzz-}
	if [ $# -gt 0 ]; then
		case " $* " in *" $name "*) ;; *) continue ;; esac
	fi
	corpus=tests/fuzz/$(basename "$(dirname "$target")")/corpus-$name
	new=build-fuzz/corpus/$name
	mkdir -p "$new" "$corpus"
	echo "fuzz $name: $seconds s"
	if ! "$target" -max_total_time="$seconds" -rss_limit_mb=4096 -print_final_stats=1 \
		-artifact_prefix="build-fuzz/$name-" "$new" "$corpus" >"build-fuzz/$name.log" 2>&1; then
		tail -n 30 "build-fuzz/$name.log"
		echo "fuzz $name: FAILED"
		failed=1
	else
		grep -E 'stat::number_of_executed_units' "build-fuzz/$name.log" || :
	fi
done
exit $failed
