# SPDX-License-Identifier: Apache-2.0
# Four programs of Debian's libstb-dev, each a header that is a program when it is told so.
objects := rect_pack perlin sprintf c_lexer
all: $(objects:%=stb_%.o)
stb_%.o:
	echo '#include <stb/stb_$*.h>' | gcc -O2 -w -D$(shell echo stb_$* | tr a-z A-Z)_IMPLEMENTATION -c -x c -o $@ -
