#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What this processor says to programs whose output tests in guests compare (tests/guest/programs.py).
set -eu
mkdir -p /bench/expected
cd /tmp
javac -d /bench/java /bench/src/Load.java
java -Xmx256m -cp /bench/java Load >/bench/expected/java
node /bench/src/load.js >/bench/expected/js
lua5.4 /bench/src/work.lua >/bench/expected/lua
sqlite3 :memory: </bench/src/work.sql >/bench/expected/sql
gcc -O2 -w -DSTB_RECT_PACK_IMPLEMENTATION -S -x c -o - /usr/include/stb/stb_rect_pack.h >/bench/expected/asm
make -s -f /bench/src/stb.mk
sha256sum stb_*.o >/bench/expected/stb
head -c 300000 /bench/data >d
for h in md5 sha1 sha256 sha512 sha3-256 blake2b512 sm3; do openssl dgst -$h d; done >/bench/expected/dgst
while read -r kernel; do
	/bench/$kernel
done >/bench/expected/kernels <<END
integer mix 50
integer sieve 1
integer qsort 1
integer interp 50000
fp whetstone 100
fp nbody 2000
fp linpack 3
fp x87 20000
fp dot 100
crypto aes-gcm 20
crypto sha256 20
crypto rsa 2
crypto x25519 10
system fault 2
system signal 100
system pipe16k 100
system forkexec 5
system pingpong 200
END
