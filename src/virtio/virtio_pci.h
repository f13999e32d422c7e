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
	uint64_t driver_features;
	uint16_t queue_sel, config_vector;
	uint8_t isr;
	uint32_t cfg_access[4]; /* VIRTIO_PCI_CAP_PCI_CFG window */
	uint32_t nr_vectors;	/* property "vectors" */
	uint16_t *queue_vector; /* nr_vqs */
};

#define virtio_to_pci(vp) container_of(vp, struct virtio_pci, v)

/* v.type, nr_vqs, vq_size, cfg_len must be set. class_rev as in struct pci_id. */
int virtio_pci_init(struct virtio_pci *, uint32_t class_code, struct err *e) MUST_CHECK;
void virtio_pci_fini(struct virtio_pci *);
void virtio_pci_reset(struct virtio_pci *);

/* The properties every virtio-pci device has (addr, vectors, ...): put into its own table. */
#define VIRTIO_PCI_PROPS(type)                                                                  \
	PROP_UINT("vectors", type, p.nr_vectors, PROP_U32, 0, 0, PCI_MSIX_MAX,                  \
		  "MSI-X vectors; 0 = one a queue and one for the configuration")

extern const struct state_desc virtio_pci_state;

#endif
