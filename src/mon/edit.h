/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line editor for bytes that come from a terminal: cursor keys, the usual control keys, history,
 * completion. It writes escape sequences that every terminal since the VT100 knows, and works on
 * a pipe as well. Fed with bytes, it never waits.
 */
#ifndef MON_EDIT_H
#define MON_EDIT_H

#include "base/base.h"

#define EDIT_MAX_LINE	 4096u
#define EDIT_MAX_HISTORY 64u

struct edit {
	const char *prompt;
	void (*say)(struct edit *, const char *text, size_t len); /* to the terminal */
	void (*line)(struct edit *, const char *line);		  /* a whole one; may not free */
	/* Tab: calls edit_candidate() for each word that the last word of text may become. */
	void (*complete)(struct edit *, const char *text);
	bool hold; /* line() says so: it goes on, the prompt comes with edit_prompt() */
	/* the editor's own; zeros at first */
	char buf[EDIT_MAX_LINE];
	size_t len, pos;
	unsigned escape;     /* where inside an escape sequence */
	unsigned escape_arg; /* its number */
	bool after_cr;
	char *history[EDIT_MAX_HISTORY]; /* oldest first */
	unsigned nr_history, at;	 /* at == nr_history: the new line */
	char *kept;			 /* the new line, while an old one is shown */
	char **found;
	unsigned nr_found;
};

void edit_prompt(struct edit *); /* prompt and the line so far */
/* How many of them were taken: up to the line that sets hold. */
size_t edit_keys(struct edit *, const uint8_t *keys, size_t len);
void edit_candidate(void *edit, const char *word);
void edit_reset(struct edit *); /* another one sits at the terminal: nothing is left */
void edit_fini(struct edit *);

#endif
