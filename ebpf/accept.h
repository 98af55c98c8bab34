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

/* The flow of a datagram that was parsed. VERDICT_FORWARDED: there is one. */
INLINE __u32 look_up(struct arrival *arrival)
{
	struct datagram *datagram = &arrival->datagram;
	struct flow *flow = bpf_map_lookup_elem(&flows, &datagram->destination);
	if (flow && unlikely(flow->flags & FLOW_SHARES_PORT) && !is_same(&datagram->source, &flow->source)) {
		struct endpoint second = datagram->destination;
		second.side = 1;
		flow = bpf_map_lookup_elem(&flows, &second);
	}
	if (!flow)
		return VERDICT_PASSED_NO_FLOW;
	__u32 index = flow->stream;
	struct stream *stream = bpf_map_lookup_elem(&streams, &index);
	if (!stream)
		return VERDICT_PASSED_NO_FLOW;
	fetch_lines(flow, sizeof(*flow));
	fetch_lines(stream, sizeof(*stream));
	arrival->flow = flow;
	arrival->stream = stream;
	return VERDICT_FORWARDED;
}

/* The flow of a frame's datagram. */
INLINE __u32 find_flow(struct xdp_md *context, struct arrival *arrival)
{
	return parse(context, &arrival->datagram) ? VERDICT_PASSED_NOT_PLAIN_UDP : look_up(arrival);
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
	__u32 place = flow->places[rtp->second & 0x7f];
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
	__u32 rate_hz = flow->events >> (place & 7) & 1 ? 0 : flow->clock_rate_hz;
	count_packet(stream, arrival->sequence, arrival->timestamp, rate_hz, arrival->datagram.payload_bytes);
	stream->payload_packets[place & (MOST_PAYLOAD_TYPES - 1)]++;
}

/* Counts a packet, and sends its frame away. */
INLINE int finish(const struct arrival *arrival, const struct next_hop *hop)
{
	count(arrival);
	if (arrival->flow->flags & FLOW_DROPS || !hop)
		return end_with(VERDICT_BLOCKED, XDP_DROP);
	end_with(VERDICT_FORWARDED, XDP_REDIRECT);
	/* Every interface of a way is there; else the frame, which is another one now, would have to go. */
	return bpf_redirect_map(&devices, hop->interface, XDP_DROP);
}
