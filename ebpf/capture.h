/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* Frames of flows that are captured, for the daemon: as they came, and as they leave. What is left to the daemon it
 * captures itself. */
#pragma once

#include "accept.h"

#define CAPTURE_RING_BYTES (1 << 20)

struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_RINGBUF);
	ATTRIBUTE(max_entries, CAPTURE_RING_BYTES);
} captures SECTION(".maps");

/* Frames for which the ring had no room. */
struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	ATTRIBUTE(max_entries, 1);
	TYPE(key, __u32);
	TYPE(value, __u64);
} captures_lost SECTION(".maps");

/* A frame on its way into the ring, one for each processor. */
struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	ATTRIBUTE(max_entries, 1);
	TYPE(key, __u32);
	TYPE(value, struct captured);
} captured SECTION(".maps");

/* The twin of rx that captures. A map of its own: where it can't be loaded, nothing else changes. */
struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_PROG_ARRAY);
	ATTRIBUTE(max_entries, 1);
	ATTRIBUTE(key_size, sizeof(__u32));
	ATTRIBUTE(value_size, sizeof(__u32));
} watchers SECTION(".maps");

INLINE int drops_frame(__u32 verdict)
{
	return verdict == VERDICT_WRONG_SOURCE || verdict == VERDICT_WRONG_TAG || verdict == VERDICT_REPLAYED ||
	       verdict == VERDICT_BLOCKED;
}

/* Copies the frame as it is. 0: there is no room for it, which can't be. */
INLINE struct captured *copy_frame(struct xdp_md *context)
{
	__u32 zero = 0;
	struct captured *copy = bpf_map_lookup_elem(&captured, &zero);
	if (!copy)
		return 0;
	__u64 bytes = (void *)(long)context->data_end - (void *)(long)context->data;
	copy->frame_bytes = (__u32)bytes;
	if (bytes > SNAP_BYTES)
		bytes = SNAP_BYTES;
	barrier_for(bytes);
	if (!bytes || bytes > SNAP_BYTES || bpf_xdp_load_bytes(context, 0, copy->bytes, (__u32)bytes))
		copy->frame_bytes = 0;
	return copy;
}

INLINE void emit(struct captured *copy)
{
	__u64 bytes = copy->frame_bytes;
	if (bytes > SNAP_BYTES)
		bytes = SNAP_BYTES;
	barrier_for(bytes);
	if (bytes > SNAP_BYTES)
		return;
	if (bpf_ringbuf_output(&captures, copy, sizeof(*copy) - SNAP_BYTES + bytes, 0)) {
		__u32 zero = 0;
		__u64 *lost = bpf_map_lookup_elem(&captures_lost, &zero);
		if (lost)
			*lost += 1;
	}
}

/* Keeps the frame as it came, until it is known what becomes of it. */
SEPARATE int keep_frame(struct xdp_md *context, const struct datagram *datagram)
{
	struct captured *copy = copy_frame(context);
	if (!copy || !datagram)
		return -1;
	copy->time_ns = bpf_ktime_get_ns();
	copy->port = datagram->destination;
	copy->interface = context->ingress_ifindex;
	return 0;
}

/* Captures the frame that was kept, and the one that leaves by an interface; 0: none does. Frames that are left to the daemon
 * are not. */
SEPARATE int emit_frames(struct xdp_md *context, __u32 interface, __u32 verdict)
{
	if (!verdict && !interface)
		verdict = VERDICT_BLOCKED;
	if (verdict && !drops_frame(verdict))
		return 0;
	__u32 zero = 0;
	struct captured *copy = bpf_map_lookup_elem(&captured, &zero);
	if (!copy)
		return -1;
	copy->verdict = verdict;
	copy->is_sent = 0;
	emit(copy);
	if (verdict)
		return 0;
	copy = copy_frame(context);
	if (!copy)
		return -1;
	copy->interface = interface;
	copy->is_sent = 1;
	emit(copy);
	return 0;
}
