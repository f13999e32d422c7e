/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kicks without an exit of the vCPU: where the engine can, the guest's write to a queue's
 * notification address signals an eventfd (struct map_doorbell), and the loop that serves the queue
 * hears of it, while the vCPU goes on. Without that the write reaches the transport's registers,
 * and virtio_kick() is called from there: devices see no difference.
 *
 * The first DRIVER_OK posts the work of making doorbells for the queues that are enabled; until it
 * is done kicks come the other way. They stay for the life of the device: a kick of a queue that is
 * not in use is ignored either way, and a BAR that moves takes its doorbells along (mem/map.h).
 *
 * Devices that do little for a kick do it in the exit (kick_in_place): in a nested KVM a kick costs
 * 110 us as a doorbell, 160 us as an exit, 250 us as an exit that wakes the loop, which is what a
 * doorbell saves; waking the loop for work that is shorter than that saves nothing. Kicks are never
 * coalesced: the guest has stopped looking, and nobody would tell when to.
 *
 * Threads: the loop that serves the queues, which looks at them under the device's lock;
 * virtio_bells_start() any, under the lock.
 */
#include "base/base.h"
#include "base/log.h"
#include "core/accel.h"
#include "core/vm.h"
#include "virtio/vq_int.h"
#include <semaphore.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct bell {
	struct loop_fd h; /* added: it is made */
	struct virtio *v;
	uint16_t n;
};

struct virtio_bells {
	struct loop_work work, end;
	sem_t ended;
	struct virtio *v;
	unsigned nr;
	struct map_doorbell *door; /* nr of them, those there are */
	struct bell bell[];	   /* v->nr_vqs */
};

static void on_bell(struct loop_fd *h, uint32_t ready)
{
	struct bell *b = container_of(h, struct bell, h);
	uint64_t count;

	if (read(h->fd, &count, sizeof(count)) < 0)
		return; /* somebody else's look at it was quicker */
	pthread_mutex_lock(&b->v->dev->lock);
	virtio_kick(b->v, b->n);
	pthread_mutex_unlock(&b->v->dev->lock);
}

static bool make_bell(struct virtio *v, struct bell *b, unsigned n)
{
	struct err e = { 0 };
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	if (fd < 0)
		return false;
	*b = (struct bell){ .h = { .fd = fd, .events = EPOLLIN, .fn = on_bell },
			    .v = v,
			    .n = (uint16_t)n };
	if (loop_add(v->loop, &b->h, &e) == 0)
		return true;
	close(fd);
	b->v = NULL;
	return false;
}

/* The queues that have no doorbell yet; what cannot be had is done without. */
static void make_bells(struct loop_work *w)
{
	struct virtio_bells *s = container_of(w, struct virtio_bells, work);
	struct virtio *v = s->v;
	struct map_doorbell *door = xnew_n(struct map_doorbell, v->nr_vqs), *old = s->door;
	unsigned nr = 0;

	pthread_mutex_lock(&v->dev->lock);
	for (unsigned n = 0; n < v->nr_vqs; n++) {
		struct bell *b = &s->bell[n];

		if (!b->h.added && v->vqs[n].enabled && !make_bell(v, b, n))
			log_debug("%s: queue %u has no eventfd; its kicks come by exits",
				  v->dev->path, n);
		if (b->h.added)
			door[nr++] = (struct map_doorbell){ .off = v->bell_off + n * v->bell_step,
							    .size = v->bell_match ? 4 : 0,
							    .match = v->bell_match,
							    .val = v->bell_match ? n : 0,
							    .fd = b->h.fd };
	}
	pthread_mutex_unlock(&v->dev->lock);
	/* Without the lock: a machine that starts anew places its devices with the map's lock held.
	 */
	if (nr == s->nr) {
		free(door);
		return;
	}
	s->door = door;
	s->nr = nr;
	map_set_doorbells(v->vm->map, v->bell_region, door, nr);
	free(old);
}

/* On the loop: nothing comes from there any more. */
static void drop_bells(struct loop_work *w)
{
	struct virtio_bells *s = container_of(w, struct virtio_bells, end);
	struct virtio *v = s->v;

	loop_cancel(v->loop, &s->work);
	for (unsigned n = 0; n < v->nr_vqs; n++)
		if (s->bell[n].h.added)
			loop_del(v->loop, &s->bell[n].h);
	sem_post(&s->ended);
}

void virtio_bells_start(struct virtio *v)
{
	struct virtio_bells *s = v->bells;

	if (!v->vm->accel || !v->vm->accel->doorbells || v->type->kick_in_place || !v->bell_region)
		return;
	if (!s) {
		s = xcalloc(1, sizeof(*s) + v->nr_vqs * sizeof(s->bell[0]));
		s->v = v;
		s->work.fn = make_bells;
		s->end.fn = drop_bells;
		sem_init(&s->ended, 0, 0);
		v->bells = s;
	}
	loop_post(v->loop, &s->work);
}

void virtio_bells_fini(struct virtio *v)
{
	struct virtio_bells *s = v->bells;

	if (!s)
		return;
	/* An iothread is there as long as a device uses it, and may be making some right now. */
	if (v->loop == v->vm->loop)
		drop_bells(&s->end);
	else
		loop_post(v->loop, &s->end);
	while (sem_wait(&s->ended) < 0)
		;
	if (s->nr)
		map_set_doorbells(v->vm->map, v->bell_region, NULL, 0);
	for (unsigned n = 0; n < v->nr_vqs; n++)
		if (s->bell[n].v)
			close(s->bell[n].h.fd);
	sem_destroy(&s->ended);
	free(s->door);
	free(s);
	v->bells = NULL;
}
