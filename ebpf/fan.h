/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* From one packet to copies for several receivers: the kernel clones the frame for each entry of a list of devices, and
 * egress.c makes of each clone what its receiver gets. */
#pragma once

#include "accept.h"
#include "protect.h"

#define MARK 0x6d696c6c

/* What a frame carries in front of itself from here to there. */
struct crossing {
	__u32 mark; /* MARK: it is one of ours */
	__u32 group;
	__u32 packet; /* a number that no other packet on its way has, on this processor */
	__u32 sum; /* of the payload's words */
	__u32 rollover; /* of the index that the packet of SRTP came with */
	__u16 header_bytes;
	__u16 payload_bytes;
	__u16 id; /* for IPv4 */
	__u8 place; /* of the payload type */
	__u8 zero;
};

/* The number of the last packet that was sent out to several, by processor. */
struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	ATTRIBUTE(max_entries, 1);
	TYPE(key, __u32);
	TYPE(value, __u32);
} packets SECTION(".maps");

/* A packet that is to be sent to several. */
struct fan {
	struct group *group;
	void *devices;
	__u32 payload_bytes;
	__u32 sum; /* of the payload's words */
	__u32 rollover;
};

/* Finds out where a packet goes to whose payload will be so long, and begins with `first`. 0, or VERDICT_PASSED_*. */
INLINE __u32 prepare(const struct arrival *arrival, __u32 payload_bytes, __u8 first, struct fan *fan)
{
	__u32 number = arrival->flow->group;
	struct group *group = bpf_map_lookup_elem(&groups, &number);
	if (!group)
		return VERDICT_PASSED_NO_FLOW;
	if (payload_bytes > group->longest_bytes)
		return VERDICT_PASSED_TOO_LONG;
	if (group->flags & GROUP_INSERTS && (first & HAS_MORE_HEADER || payload_bytes <= RTP_BYTES))
		return VERDICT_PASSED_EXTENSION;
	__u32 list = group->devices;
	fan->group = group;
	fan->devices = bpf_map_lookup_elem(&device_lists, &list);
	return fan->devices ? 0 : VERDICT_PASSED_NO_NEIGHBOUR;
}

/* Sends a frame to all receivers of its flow, and counts the packet. It has the headers that it came with. */
INLINE int fan_out(struct xdp_md *context, const struct arrival *arrival, const struct fan *fan)
{
	__u32 zero = 0;
	struct group *group = fan->group;
	__u32 *packet = bpf_map_lookup_elem(&packets, &zero);
	if (!packet || !group || !fan->devices)
		return refuse(VERDICT_PASSED_NO_FLOW);
	if (bpf_xdp_adjust_meta(context, -(int)sizeof(struct crossing)))
		return refuse(VERDICT_PASSED_NO_ROOM);
	struct crossing *crossing = (void *)(long)context->data_meta;
	if ((void *)(crossing + 1) > (void *)(long)context->data)
		return refuse(VERDICT_PASSED_NO_ROOM);
	*packet += 1;
	crossing->mark = MARK;
	crossing->group = arrival->flow->group;
	crossing->packet = *packet;
	crossing->sum = fan->sum;
	crossing->rollover = fan->rollover;
	crossing->header_bytes = arrival->datagram.header_bytes;
	crossing->payload_bytes = fan->payload_bytes;
	crossing->id = (__u16)arrival->stream->packets;
	crossing->place = arrival->place;
	crossing->zero = 0;
	/* Who takes the group away waits for what is on its way here. */
	if (group->flags & GROUP_IS_SRTP)
		__sync_fetch_and_add(&group->users, (__u64)group->copies);
	count(arrival);
	end_with(VERDICT_FORWARDED, XDP_REDIRECT);
	return bpf_redirect_map(fan->devices, 0, BPF_F_BROADCAST);
}

/* Sends plain RTP that belongs to a flow to all of its receivers. */
INLINE int fan_out_plain(struct xdp_md *context, struct arrival *arrival)
{
	struct datagram *datagram = &arrival->datagram;
	struct fan fan = { .payload_bytes = datagram->payload_bytes };
	__u32 verdict = accept(context, arrival);
	if (verdict)
		return refuse(verdict);
	if (!goes_on(arrival->stream, arrival->sequence))
		return refuse(VERDICT_PASSED_JUMP);
	void *end = (void *)(long)context->data_end;
	struct rtp_header *rtp = payload_of((void *)(long)context->data, end, datagram, sizeof(*rtp));
	if (!rtp)
		return refuse(VERDICT_PASSED_NOT_RTP);
	verdict = prepare(arrival, fan.payload_bytes, rtp->first, &fan);
	if (verdict)
		return refuse(verdict);
	__s64 sum = sum_of(rtp, end, datagram->payload_bytes);
	if (sum < 0)
		return refuse(VERDICT_PASSED_TOO_LONG);
	fan.sum = (__u32)sum + (__u32)((__u64)sum >> 32);
	return fan_out(context, arrival, &fan);
}
