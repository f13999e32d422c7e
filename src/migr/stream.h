/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a saved machine on a file descriptor: a file, a pipe or a socket. Both directions
 * wait with poll(2), so that another thread can end them. One thread at a time.
 */
#ifndef MIGR_STREAM_H
#define MIGR_STREAM_H

#include "base/base.h"
#include <sys/uio.h>

struct migr_stream {
	int fd;	  /* owned */
	int wake; /* eventfd: readable = give up, or look at max_bytes_per_s again */
	atomic_bool cancel;
	_Atomic uint64_t pos;		  /* bytes written or read so far */
	_Atomic uint64_t max_bytes_per_s; /* of writing; 0 = as fast as it goes */
	uint64_t paced_ns, paced_pos;	  /* where the pace is counted from */
};

/* Takes fd, also on failure. */
int stream_init_take(struct migr_stream *, int fd, struct err *e) MUST_CHECK;
void stream_fini(struct migr_stream *);

/* Any thread: whoever reads or writes gets -ECANCELED soon. */
void stream_cancel(struct migr_stream *);
void stream_set_pace(struct migr_stream *, uint64_t max_bytes_per_s);

/* Waits until there is something to read, or to accept: a FIFO may have no writer at first. */
int stream_await(struct migr_stream *, struct err *e) MUST_CHECK;

/* All of it, or -errno with e set. iov is used up. */
int stream_writev(struct migr_stream *, struct iovec *iov, unsigned n, struct err *e) MUST_CHECK;
int stream_write(struct migr_stream *, const void *, size_t, struct err *e) MUST_CHECK;
/* An end of the file in front of the last byte is -EPROTO. */
int stream_read(struct migr_stream *, void *, size_t, struct err *e) MUST_CHECK;
/*
 * For what is not written from its beginning to its end. Where the next byte goes: -ESPIPE where
 * that is not to be chosen, as in a pipe.
 */
int stream_tell(struct migr_stream *, uint64_t *off, struct err *e) MUST_CHECK;
int stream_seek(struct migr_stream *, uint64_t off, struct err *e) MUST_CHECK;
/* Everything is on stable storage, where the descriptor has one. */
int stream_sync(struct migr_stream *, struct err *e) MUST_CHECK;

#endif
