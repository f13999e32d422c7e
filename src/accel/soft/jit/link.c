/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where jumps of host code to other pages went last (xlink.c). vCPU thread.
 *
 * A link of a jump whose target is a distance says that from one page that distance leads to one physical
 * page: all jumps for which that is so have the same link. One of a jump by way of a register or memory is
 * its own. Whatever may change a mapping takes all links in use, or those of pages that are not global; what
 * changes code changes its page's generation, which host code compares itself.
 */
#include "accel/soft/jit/code.h"
#include "accel/soft/mmu.h"

#define SOON  64  /* turns of loops between two misses */
#define MOST  128 /* misses until one is looked at, where they do not come soon */
#define MANY  16  /* that came soon: the jump wanders */
#define IS_FAR (MANY / 4) /* so many of them to other pages: it does all over */

/* Never what a generation is compared with. */
#define NEVER UINT32_MAX

static bool in_use(const struct soft_cpu *c, unsigned n)
{
	return c->links[n].gen_at != &c->no_gen;
}

static uint16_t *list_of(struct soft_cpu *c, bool global)
{
	return global ? &c->links_global : &c->links_local;
}

static void drop(struct soft_cpu *c, uint16_t *list)
{
	for (unsigned n = *list; n; n = c->link_infos[n].next)
		c->links[n].gen_at = &c->no_gen;
	*list = 0;
}

void links_drop(struct soft_cpu *c, bool global_too)
{
	drop(c, &c->links_local);
	if (global_too)
		drop(c, &c->links_global);
}

/* The page that a link in use leads to. */
static uint64_t target_page(const struct soft_cpu *c, unsigned n)
{
	const struct link_info *info = &c->link_infos[n];

	return (c->links[n].from + (info->to ? (uint64_t)(int64_t)info->distance : 0)) & PAGE_ADDR;
}

static void drop_page(struct soft_cpu *c, uint16_t *at, uint64_t page)
{
	for (unsigned n; (n = *at);) {
		struct link_info *info = &c->link_infos[n];

		if (target_page(c, n) != page) {
			at = &info->next;
			continue;
		}
		c->links[n].gen_at = &c->no_gen;
		*at = info->next;
	}
}

void links_drop_page(struct soft_cpu *c, uint64_t lin)
{
	drop_page(c, &c->links_local, lin & PAGE_ADDR);
	drop_page(c, &c->links_global, lin & PAGE_ADDR);
}

void links_reset(struct soft_cpu *c)
{
	c->no_gen = NEVER;
	c->links_local = c->links_global = 0;
	c->links[NO_LINK].gen_at = &c->no_gen;
	if (c->nr_links > NO_LINK + 1)
		memset(c->link_hash, 0, sizeof(c->link_hash));
	c->nr_links = NO_LINK + 1;
}

unsigned jit_new_link(struct soft_cpu *c)
{
	unsigned n = cpu_apart(offsetof(struct soft_cpu, links), sizeof(struct link), c->nr_links);

	if (n >= LINKS)
		return NO_LINK; /* cannot be, by jit_has_room() */
	c->nr_links = n + 1;
	c->links[n].gen_at = &c->no_gen;
	c->link_infos[n] = (struct link_info){ .misses = 1, .wait = 1 };
	return n;
}

/* The link of a distance to a page, in this mode; NO_LINK: there is no room. */
static unsigned find_link(struct soft_cpu *c, const _Atomic uint32_t *to, int32_t distance)
{
	uint64_t h = ((uintptr_t)to + (uint64_t)(int64_t)distance * 16 + c->mode_key) * 0x9e3779b97f4a7c15ull;
	uint16_t *head = &c->link_hash[h >> (64 - LINK_HASH_BITS)];
	struct link_info *info;
	unsigned n;

	for (n = *head; n; n = c->link_infos[n].hash_next) {
		info = &c->link_infos[n];
		if (info->to == to && info->distance == distance && info->key == c->mode_key)
			return n;
	}
	n = jit_new_link(c);
	if (n == NO_LINK)
		return n;
	info = &c->link_infos[n];
	*info = (struct link_info){ .to = to, .distance = distance, .key = c->mode_key, .hash_next = *head };
	*head = (uint16_t)n;
	return n;
}

/* Takes a link in use out of its list. */
static void take_out(struct soft_cpu *c, unsigned n)
{
	uint16_t *at = list_of(c, c->link_infos[n].global);

	while (*at != n)
		at = &c->link_infos[*at].next;
	*at = c->link_infos[n].next;
}

/* It may be in use for another page, and that be a global one or not. */
static void use(struct soft_cpu *c, unsigned n, const struct jump_entry *e, uint64_t from)
{
	const bool global = e->stamp == c->stamp_global;
	struct link_info *info = &c->link_infos[n];
	uint16_t *list = list_of(c, global);
	bool listed = in_use(c, n);

	if (listed && info->global != global) {
		take_out(c, n);
		listed = false;
	}
	if (!listed) {
		info->next = *list;
		*list = (uint16_t)n;
	}
	info->global = global;
	c->links[n] = (struct link){ .from = from, .gen_at = e->gen_at };
}

static void link_far(struct soft_cpu *c, uint8_t *site, const struct jump_entry *e, const void *code,
		     uint64_t from)
{
	unsigned n = find_link(c, e->gen_at, (int32_t)(e->page - from));

	if (n == NO_LINK)
		return;
	use(c, n, e, from);
	st_le32(site + FAR_FROM, (uint32_t)LINK_OFF(n, from));
	st_le32(site + FAR_GEN_AT, (uint32_t)LINK_OFF(n, gen_at));
	st_le32(site + FAR_GEN, e->gen);
	as_patch(site + FAR_TO, jit_writable(c->jit, code));
}

/* A place in the page that the jump is in, or any other. */
static void note_place(const struct soft_cpu *c, struct link_info *info, uint64_t from)
{
	uint16_t place = (uint16_t)((c->rip & PAGE_OFF) + 1);
	unsigned i = 0;

	if ((c->rip & PAGE_ADDR) != from) {
		info->far++;
		return;
	}
	while (i < NEAR - 1 && info->near[i] && info->near[i] != place)
		i++;
	info->near[i] = place;
}

/* It asks the jump cache from here on, and is made again so. */
static void wander(struct soft_cpu *c, uint8_t *site, const struct link_info *info, uint64_t from)
{
	struct jit *j = c->jit;
	const struct block *whole;
	struct block *b;

	*site = 0xe9; /* jmp */
	as_patch(site + 1, j->rw + info->lookup);
	whole = jit_id_block(c->blocks, c->hc.id);
	b = block_known(c, whole, whole->gpa & PAGE_OFF);
	if (!b || !b->code || jit_whole(c, b) != whole || !jit_has_room(c))
		return;
	b->wanders = true;
	if (info->far < IS_FAR)
		memcpy(b->near, info->near, sizeof(b->near));
	memcpy(b->roams, whole->roams, sizeof(b->roams));
	jit_translate_again(c, j, b, from);
}

/* True: it misses all the time. */
static bool score(struct soft_cpu *c, struct link_info *info)
{
	bool soon = info->missed - c->poll <= SOON * info->wait;

	info->missed = c->poll;
	info->score = soon ? info->score + 1 : info->score / 2;
	info->wait = soon ? 1 : MIN(info->wait * 2, MOST);
	info->misses = info->wait;
	return info->score >= MANY;
}

static void link_way(struct soft_cpu *c, uint8_t *site, unsigned n, const struct jump_entry *e,
		     const void *code)
{
	use(c, n, e, c->rip);
	st_le32(site + WAY_GEN, e->gen);
	as_patch(site + WAY_TO, jit_writable(c->jit, code));
}

/* The link of a jump by way of a register or memory. */
static unsigned way_of(const uint8_t *site)
{
	return (ld_le32(site + WAY_FROM) - (uint32_t)LINK_OFF(0, from)) / sizeof(struct link);
}

/*
 * As jit_find(). *e: what the jump cache has for the code, if a jump may go there by itself; else NULL. (A
 * block in two pages depends on more than a link knows.)
 */
static const void *find(struct soft_cpu *c, const struct jump_entry **e)
{
	const uint64_t flushes = c->blocks->flushes;
	const void *code = jit_find(c);
	const unsigned i = jump_index(c->rip);
	const struct jump_entry *j = &c->blocks->jump[i];
	const struct block *b = c->blocks->jump_block[i];

	*e = NULL;
	if (c->blocks->flushes == flushes && j->lin == c->rip && (uint32_t)j->stamp == c->mode_key &&
	    b && b->code == code && !b->crosses && j->gen != NEVER) {
		*e = j;
		c->n.linked++;
	}
	return code;
}

static const void *find_far(struct soft_cpu *c, uint8_t *site)
{
	const uint64_t from = c->r[R_PC];
	const struct jump_entry *e;
	const void *code = find(c, &e);

	if (e)
		link_far(c, site, e, code, from);
	return code;
}

/* By way of a register or memory. */
static const void *find_way(struct soft_cpu *c, uint8_t *site)
{
	const unsigned n = way_of(site);
	struct link_info *info = &c->link_infos[n];
	const uint64_t from = c->r[R_PC];
	const bool missed = !info->misses;
	const struct jump_entry *e;
	const void *code;

	info->misses += missed; /* should there be no code now, or a fault */
	code = find(c, &e);
	if (!e)
		return code;
	if (missed)
		note_place(c, info, from);
	if (missed && score(c, info))
		wander(c, site, info, from);
	else
		link_way(c, site, n, e, code);
	return code;
}

const void *jit_link(struct soft_cpu *c)
{
	uint8_t *site = c->jit->rw + (c->jr.site & ~LINK_WAY);

	return c->jr.site & LINK_WAY ? find_way(c, site) : find_far(c, site);
}
