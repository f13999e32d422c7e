/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From one virtio device to a dev_type for each transport, and what the transports share.
 *
 * VIRTIO_DEVICE() in the device's file makes struct NAME_pci and struct NAME_mmio, the transport in
 * front of the device, with their types NAME_pci_type ("virtio-blk-pci") and NAME_mmio_type
 * ("virtio-blk-device"). Both have the device's plain name as their alias: the board says which one
 * that means (vm->virtio_bus).
 */
#ifndef VIRTIO_VIRTIO_DEV_H
#define VIRTIO_VIRTIO_DEV_H

#include "virtio/virtio_mmio.h"
#include "virtio/virtio_pci.h"

extern const struct state_desc virtio_state; /* for ST_SUB in device tables */

/* The properties every virtio device has, whatever its transport. */
#define VIRTIO_RING_PROPS(type)                                                             \
	PROP_FLAG("event_idx", type, x.v.p_event_idx, 1, "offer EVENT_IDX"),                \
		PROP_FLAG("indirect_desc", type, x.v.p_indirect, 1, "offer INDIRECT_DESC"), \
		PROP_FLAG("packed", type, x.v.p_packed, 0, "offer the packed ring"),        \
		PROP_FLAG("in_order", type, x.v.p_in_order, 0, "offer IN_ORDER"),           \
		PROP_FLAG("queue_reset", type, x.v.p_queue_reset, 1, "offer RING_RESET"),   \
		PROP_FLAG("notification_data", type, x.v.p_notify_data, 0,                  \
			  "offer NOTIFICATION_DATA")

/* One transport of struct stem; plist(type) is a list with a comma behind each, or empty. */
#define VIRTIO_ON(stem, on, bus_, vtype, vstate, plist, attrs_, name_, alias_, help_)             \
	struct stem##_##on {                                                                      \
		struct virtio_##on t; /* first */                                                 \
		struct stem x;                                                                    \
	};                                                                                        \
	static const struct prop stem##_##on##_props[] = {                                        \
		plist(struct stem##_##on) VIRTIO_RING_PROPS(struct stem##_##on),                  \
		VIRTIO_##on##_PROPS(struct stem##_##on), PROPS_END                                \
	};                                                                                        \
	static const struct state_desc stem##_##on##_state = {                                    \
		.name = (name_),                                                                  \
		.struct_name = #stem "_" #on,                                                     \
		.version = 1,                                                                     \
		.fields = (const struct state_field[]){ ST_SUB(struct stem##_##on, x, &(vstate)), \
							ST_SUB(struct stem##_##on, t,             \
							       &virtio_##on##_state),             \
							ST_END },                                 \
	};                                                                                        \
	static int stem##_##on##_init(struct dev *d, struct err *e)                               \
	{                                                                                         \
		struct stem##_##on *s = container_of(d, struct stem##_##on, t);                   \
                                                                                                  \
		return virtio_##on##_init(&s->t, &s->x.v, &(vtype), e);                           \
	}                                                                                         \
	const struct dev_type stem##_##on##_type = {                                              \
		.name = (name_),                                                                  \
		.alias = (alias_),                                                                \
		.bus = (bus_),                                                                    \
		.help = (help_),                                                                  \
		.size = sizeof(struct stem##_##on),                                               \
		.props = stem##_##on##_props,                                                     \
		.state = &stem##_##on##_state,                                                    \
		.attrs = (attrs_),                                                                \
		.init = stem##_##on##_init,                                                       \
		.fini = virtio_##on##_dev_fini,                                                   \
		.reset = virtio_##on##_dev_reset,                                                 \
		.pause = virtio_##on##_dev_pause,                                                 \
		.resume = virtio_##on##_dev_resume,                                               \
	}

/* name is plain: "virtio-blk"; attrs as in struct dev_type. */
#define VIRTIO_DEVICE_ATTRS(stem, vtype, vstate, props, attrs, name, help)                       \
	extern const struct dev_type stem##_pci_type, stem##_mmio_type;                          \
	VIRTIO_ON(stem, pci, DEV_BUS_PCI, vtype, vstate, props, attrs, name "-pci", name, help); \
	VIRTIO_ON(stem, mmio, DEV_BUS_VIRTIO_MMIO, vtype, vstate, props, attrs, name "-device",  \
		  name, help)
#define VIRTIO_DEVICE(stem, vtype, vstate, props, name, help) \
	VIRTIO_DEVICE_ATTRS(stem, vtype, vstate, props, NULL, name, help)

/* ---- for transports, under the device's lock ---- */

/* The device's first steps on d: its own init, then its queues. notify as struct virtio has it. */
int virtio_dev_init(struct virtio *, struct dev *, const struct virtio_type *,
		    void (*notify)(struct virtio *, int n), struct err *e) MUST_CHECK;
/* The last ones: before the transport leaves the guest's reach, and after. v may be NULL. */
void virtio_dev_unplug(struct virtio *);
void virtio_dev_fini(struct virtio *);
void virtio_dev_resume(struct virtio *);

/* Bits 0..31 (word 0) or 32..63 (word 1) of features; 0 for all others. */
uint32_t virtio_feature_word(uint64_t features, uint32_t word);
/* Configuration space; what lies behind its end reads as zeros and takes no writes. */
uint64_t virtio_cfg_read(const struct virtio *, uint64_t off, unsigned size);
void virtio_cfg_write(struct virtio *, uint64_t off, uint64_t val, unsigned size);

/* The queue that a driver selected, or NULL. */
struct vq *virtio_selected(struct virtio *, uint32_t sel);
enum virtio_queue_reg { VQ_REG_SIZE, VQ_REG_DESC, VQ_REG_DRIVER, VQ_REG_DEVICE };
/* A parameter of a queue that is not enabled; of addresses the low or the high half. */
void virtio_queue_set(struct vq *, enum virtio_queue_reg, bool high, uint32_t val);
/* The driver enables a queue: refused before FEATURES_OK. */
void virtio_queue_enable(struct vq *);

#endif
