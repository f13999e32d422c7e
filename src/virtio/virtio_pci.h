/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtio over PCI, modern (non-transitional) transport. A device is
 *	struct virtio_blk { struct virtio_pci p; ... };
 * with its dev_type in the same file; virtio_pci_init() comes last in its init.
 */
#ifndef VIRTIO_VIRTIO_PCI_H
#define VIRTIO_VIRTIO_PCI_H

#include "pci/pci.h"
#include "virtio/virtio.h"

struct virtio_pci {
	struct pci_dev pci; /* first */
	struct virtio v;
	/* transport registers */
	uint32_t device_feature_sel, driver_feature_sel;
	uint16_t queue_sel, config_vector;
	uint8_t isr;	     /* any thread, atomic */
	uint8_t cap_pci_cfg; /* offset of the VIRTIO_PCI_CAP_PCI_CFG capability */
	/* properties */
	uint32_t nr_vectors;
	bool p_event_idx, p_indirect, p_packed, p_in_order, p_queue_reset, p_notify_data;
	uint8_t p_disable_legacy;
	bool p_disable_modern;
};

#define virtio_to_pci(vp) container_of(vp, struct virtio_pci, v)

/*
 * Attaches the device to the bus. v.type, nr_vqs, vq_size, cfg_len must be set. class_code is
 * the three bytes of class, subclass and programming interface (0x010000 for storage).
 */
int virtio_pci_init(struct virtio_pci *, uint32_t class_code, struct err *e) MUST_CHECK;
/* Stops the device and takes it off the bus; a half-done init is fine. */
void virtio_pci_fini(struct virtio_pci *);
/* For dev_type.reset, .pause and .resume when struct virtio_pci comes first in the device. */
void virtio_pci_reset(struct virtio_pci *);
void virtio_pci_dev_reset(struct dev *);
void virtio_pci_dev_pause(struct dev *);
void virtio_pci_dev_resume(struct dev *);

/* Unless the user says: one vector a queue and one for the configuration. */
#define VIRTIO_VECTORS_AUTO UINT32_MAX

/* The properties every virtio-pci device has; p is the name of its struct virtio_pci member. */
#define VIRTIO_PCI_PROPS(type)                                                                   \
	PROP_UINT("vectors", type, p.nr_vectors, PROP_U32, VIRTIO_VECTORS_AUTO, 0, PCI_MSIX_MAX, \
		  "MSI-X vectors, 0 = INTx only; default: what the queues need"),                \
		PROP_FLAG("event_idx", type, p.p_event_idx, 1, "offer EVENT_IDX"),               \
		PROP_FLAG("indirect_desc", type, p.p_indirect, 1, "offer INDIRECT_DESC"),        \
		PROP_FLAG("packed", type, p.p_packed, 0, "offer the packed ring"),               \
		PROP_FLAG("in_order", type, p.p_in_order, 0, "offer IN_ORDER"),                  \
		PROP_FLAG("queue_reset", type, p.p_queue_reset, 1, "offer RING_RESET"),          \
		PROP_FLAG("notification_data", type, p.p_notify_data, 0,                         \
			  "offer NOTIFICATION_DATA"),                                            \
		PROP_UINT("disable-legacy", type, p.p_disable_legacy, PROP_ONOFFAUTO, PROP_AUTO, \
			  0, 0, "the transport is modern only: on or auto"),                     \
		PROP_FLAG("disable-modern", type, p.p_disable_modern, 0,                         \
			  "the transport is modern only: off")

extern const struct state_desc virtio_pci_state;

#endif
