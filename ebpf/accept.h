/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* From a frame to the flow that its RTP belongs to. */
#pragma once

#include "count.h"
#include "forward.h"
#include "maps.h"
#include "parse.h"

/* What has come. */
struct arrival {
	struct datagram datagram;
	struct flow *flow;
	struct stream *stream;
	__u32 slot; /* the index of the stream */
	__u32 place; /* of its payload type */
	__u32 timestamp;
	__u16 sequence;
};

INLINE int end_with(__u32 verdict, int action)
{
	__u64 *count = bpf_map_lookup_elem(&verdicts, &verdict);
	if (count)
		*count += 1;
	return action;
}

#define CACHE_LINE_BYTES 64

/* Reads a word of each line of something: of many flows' each is far away for the processor, and so they come together,
 * while what is in the first of them is looked at. */
INLINE void fetch_lines(const void *what, __u32 bytes)
{
#pragma unroll
	for (__u32 at = 0; at < bytes; at += CACHE_LINE_BYTES)
		(void)*(const volatile __u32 *)(what + at);
}

/* Whether a datagram belongs to a flow, by its addresses. */
INLINE int is_of(const struct flow *flow, const struct datagram *datagram)
{
	if (!is_same(&flow->local, &datagram->destination))
		return 0;
	return likely(!(flow->flags & FLOW_SHARES_PORT)) || is_same(&flow->source, &datagram->source);
}

/* What leads to the flow of a datagram; 0: there is none. */
SEPARATE __u64 lead_to(const struct datagram *datagram)
{
	if (!datagram)
		return 0;
	__u32 index = front_of(&datagram->destination);
	const volatile __u64 *front = bpf_map_lookup_elem(&fronts, &index);
	__u64 lead = front ? *front : 0;
#pragma unroll
	for (int turn = 0; turn < MOST_CHAINED; turn++) {
		index = (__u32)lead;
		const struct flow *flow = bpf_map_lookup_elem(&flows, &index);
		if (!index || !flow)
			return 0;
		if (is_of(flow, datagram))
			return lead;
		lead = *(const volatile __u64 *)&flow->next;
	}
	return 0;
}

/* The flow of a datagram that was parsed. VERDICT_FORWARDED: there is one. */
INLINE __u32 look_up(struct arrival *arrival)
{
	__u64 lead = lead_to(&arrival->datagram);
	__u32 index = (__u32)lead, slot = (__u32)(lead >> 32);
	struct flow *flow = bpf_map_lookup_elem(&flows, &index);
	struct stream *stream = bpf_map_lookup_elem(&streams, &slot);
	if (!lead || !flow || !stream)
		return VERDICT_PASSED_NO_FLOW;
	fetch_lines(flow, sizeof(*flow));
	fetch_lines(stream, sizeof(*stream));
	arrival->flow = flow;
	arrival->stream = stream;
	arrival->slot = slot;
	return VERDICT_FORWARDED;
}

/* The flow of a frame's datagram. */
INLINE __u32 find_flow(struct xdp_md *context, struct arrival *arrival)
{
	return parse(context, &arrival->datagram) ? VERDICT_PASSED_NOT_PLAIN_UDP : look_up(arrival);
}

/* The place of a payload type among those that pass; MOST_PAYLOAD_TYPES: it has none. All bytes at once, as the verifier
 * would follow each turn of a loop to the end of the program. */
INLINE __u32 place_of(const struct flow *flow, __u8 payload_type)
{
	__u64 differs = *(const __u64 *)flow->payload_types ^ payload_type * IN_EACH_BYTE;
	__u64 found = (differs - IN_EACH_BYTE) & ~differs & 0x80 * IN_EACH_BYTE;
	/* The lowest bit is that of the first byte without a difference; those below it are counted, one in each byte. */
	__u64 below = (found - 1) & ~found & 0x80 * IN_EACH_BYTE;
	return found ? (__u32)((below >> 7) * IN_EACH_BYTE >> 56) : MOST_PAYLOAD_TYPES;
}

/* Whether a datagram is RTP of its flow. VERDICT_FORWARDED: it is, but for its sequence number. */
INLINE __u32 accept_within(void *data, void *end, struct arrival *arrival)
{
	struct datagram *datagram = &arrival->datagram;
	struct flow *flow = arrival->flow;
	struct stream *stream = arrival->stream;
	struct rtp_header *rtp = payload_of(data, end, datagram, sizeof(*rtp));
	if (!rtp || datagram->payload_bytes < sizeof(*rtp))
		return VERDICT_PASSED_NOT_RTP;
	/* RFC 7983, section 7; RFC 5761, section 4. */
	if (rtp->first >> 6 != 2 || (rtp->second >= 192 && rtp->second <= 223))
		return VERDICT_PASSED_NOT_RTP;
	if (!is_same(&datagram->source, &flow->source)) {
		if (!(flow->flags & FLOW_IS_STRICT))
			return VERDICT_PASSED_OTHER_SOURCE;
		stream->wrong_source++;
		return VERDICT_WRONG_SOURCE;
	}
	__u32 place = place_of(flow, rtp->second & 0x7f);
	if (place >= MOST_PAYLOAD_TYPES)
		return VERDICT_PASSED_PAYLOAD_TYPE;
	if (from_be32(rtp->ssrc) != stream->ssrc)
		return VERDICT_PASSED_SSRC;
	arrival->place = place;
	arrival->sequence = from_be16(rtp->sequence);
	arrival->timestamp = from_be32(rtp->timestamp);
	return VERDICT_FORWARDED;
}

INLINE __u32 accept(struct xdp_md *context, struct arrival *arrival)
{
	return accept_within((void *)(long)context->data, (void *)(long)context->data_end, arrival);
}

/* The way on; VERDICT_FORWARDED: it is known, or there is to be none. */
INLINE __u32 find_hop(const struct flow *flow, struct next_hop **hop)
{
	__u32 index = flow->way.next_hop;
	*hop = bpf_map_lookup_elem(&next_hops, &index);
	if (!(flow->flags & FLOW_DROPS) && (!*hop || !(*hop)->interface))
		return VERDICT_PASSED_NO_NEIGHBOUR;
	return VERDICT_FORWARDED;
}

/* Ends a packet that is not sent on. */
SEPARATE int refuse(__u32 verdict)
{
	int drops = verdict == VERDICT_WRONG_SOURCE || verdict == VERDICT_WRONG_TAG || verdict == VERDICT_REPLAYED ||
		    verdict == VERDICT_LOST_COPY;
	return end_with(verdict, drops ? XDP_DROP : XDP_PASS);
}

/* Counts a packet that is accepted. */
INLINE void count(const struct arrival *arrival)
{
	struct flow *flow = arrival->flow;
	struct stream *stream = arrival->stream;
	__u32 place = arrival->place;
	__u32 rate_hz = flow->flags >> (FLOW_EVENTS + (place & 7)) & 1 ? 0 : flow->clock_rate_hz;
	count_packet(stream, arrival->sequence, arrival->timestamp, rate_hz, arrival->datagram.payload_bytes);
	stream->payload_packets[place & (MOST_PAYLOAD_TYPES - 1)]++;
}

/* Counts a packet, and sends its frame away by an interface; 0: nobody is to hear it. */
INLINE int finish(const struct arrival *arrival, __u32 interface)
{
	count(arrival);
	if (!interface)
		return end_with(VERDICT_BLOCKED, XDP_DROP);
	end_with(VERDICT_FORWARDED, XDP_REDIRECT);
	__u32 zero = 0;
	__u32 *may_fan_out = bpf_map_lookup_elem(&fanning, &zero);
	/* Every interface of a way is there; else the frame, which is another one now, would have to go. */
	if (may_fan_out && *may_fan_out)
		return bpf_redirect_map(&devices, interface, XDP_DROP);
	return bpf_redirect_map(&singles, interface, XDP_DROP);
}
