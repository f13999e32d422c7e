/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtio over PCI, modern (non-transitional) transport.
 */
#ifndef VIRTIO_VIRTIO_PCI_H
#define VIRTIO_VIRTIO_PCI_H

#include "pci/pci.h"
#include "virtio/virtio.h"

struct virtio_pci {
	struct pci_dev pci; /* first */
	struct virtio *v;
	/* transport registers */
	uint32_t device_feature_sel, driver_feature_sel;
	uint16_t queue_sel, config_vector;
	uint8_t isr;	     /* any thread, atomic */
	uint8_t cap_pci_cfg; /* offset of the VIRTIO_PCI_CAP_PCI_CFG capability */
	/* properties */
	uint32_t nr_vectors;
	uint8_t p_disable_legacy;
	bool p_disable_modern;
};

/* Makes v, of type, a function on the bus; struct virtio_pci comes first in the dev. */
int virtio_pci_init(struct virtio_pci *, struct virtio *v, const struct virtio_type *type,
		    struct err *e) MUST_CHECK;
/* A device reset by the driver. */
void virtio_pci_reset(struct virtio_pci *);
/* For the dev_type; see virtio_dev.h. */
void virtio_pci_dev_fini(struct dev *);
void virtio_pci_dev_reset(struct dev *);
void virtio_pci_dev_pause(struct dev *);
void virtio_pci_dev_resume(struct dev *);

/* Unless the user says: one vector a queue and one for the configuration. */
#define VIRTIO_VECTORS_AUTO UINT32_MAX

/* The properties of the transport; t is the name of its struct virtio_pci member. */
#define VIRTIO_pci_PROPS(type)                                                                   \
	PROP_UINT("vectors", type, t.nr_vectors, PROP_U32, VIRTIO_VECTORS_AUTO, 0, PCI_MSIX_MAX, \
		  "MSI-X vectors, 0 = INTx only; default: what the queues need"),                \
		PROP_UINT("disable-legacy", type, t.p_disable_legacy, PROP_ONOFFAUTO, PROP_AUTO, \
			  0, 0, "the transport is modern only: on or auto"),                     \
		PROP_FLAG("disable-modern", type, t.p_disable_modern, 0,                         \
			  "the transport is modern only: off")

extern const struct state_desc virtio_pci_state;

#endif
