/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* RTP whose way is known goes on from here; everything else is left to the daemon. */
#include "count.h"
#include "forward.h"
#include "maps.h"
#include "parse.h"

struct rtp_header {
	__u8 first;
	__u8 second;
	__be16 sequence;
	__be32 timestamp;
	__be32 ssrc;
};

INLINE int end_with(__u32 verdict, int action)
{
	__u64 *count = bpf_map_lookup_elem(&verdicts, &verdict);
	if (count)
		*count += 1;
	return action;
}

SECTION("xdp")
int rx(struct xdp_md *context)
{
	struct datagram datagram = {};
	if (parse(context, &datagram))
		return end_with(VERDICT_PASSED_NOT_PLAIN_UDP, XDP_PASS);
	struct flow *flow = bpf_map_lookup_elem(&flows, &datagram.destination);
	if (!flow)
		return end_with(VERDICT_PASSED_NO_FLOW, XDP_PASS);
	__u32 index = flow->stream;
	struct stream *stream = bpf_map_lookup_elem(&streams, &index);
	if (!stream)
		return end_with(VERDICT_PASSED_NO_FLOW, XDP_PASS);

	struct rtp_header *rtp = (struct rtp_header *)(datagram.udp + 1);
	if ((void *)(rtp + 1) > (void *)(long)context->data_end || datagram.payload_bytes < sizeof(*rtp))
		return end_with(VERDICT_PASSED_NOT_RTP, XDP_PASS);
	/* RFC 7983, section 7; RFC 5761, section 4. */
	if (rtp->first >> 6 != 2 || (rtp->second >= 192 && rtp->second <= 223))
		return end_with(VERDICT_PASSED_NOT_RTP, XDP_PASS);
	if (!is_same(&datagram.source, &flow->source)) {
		if (!(flow->flags & FLOW_IS_STRICT))
			return end_with(VERDICT_PASSED_OTHER_SOURCE, XDP_PASS);
		stream->wrong_source++;
		return end_with(VERDICT_WRONG_SOURCE, XDP_DROP);
	}
	__u32 place = flow->places[rtp->second & 0x7f];
	if (place >= MOST_PAYLOAD_TYPES)
		return end_with(VERDICT_PASSED_PAYLOAD_TYPE, XDP_PASS);
	if (from_be32(rtp->ssrc) != stream->ssrc)
		return end_with(VERDICT_PASSED_SSRC, XDP_PASS);
	__u16 sequence = from_be16(rtp->sequence);
	__u32 timestamp = from_be32(rtp->timestamp);
	if (!goes_on(stream, sequence))
		return end_with(VERDICT_PASSED_JUMP, XDP_PASS);

	__u32 hop_index = flow->next_hop;
	struct next_hop *hop = bpf_map_lookup_elem(&next_hops, &hop_index);
	__u32 drops = flow->flags & FLOW_DROPS;
	if (!drops) {
		if (!hop || !hop->interface)
			return end_with(VERDICT_PASSED_NO_NEIGHBOUR, XDP_PASS);
		__u32 problem = rewrite(context, &datagram, flow, hop, (__u16)stream->packets);
		if (problem)
			return end_with(problem, XDP_PASS);
	}
	__u32 rate_hz = flow->events >> (place & 7) & 1 ? 0 : flow->clock_rate_hz;
	count_packet(stream, bpf_ktime_get_ns(), sequence, timestamp, rate_hz, datagram.payload_bytes);
	stream->payload_packets[place & (MOST_PAYLOAD_TYPES - 1)]++;
	if (drops)
		return end_with(VERDICT_BLOCKED, XDP_DROP);
	end_with(VERDICT_FORWARDED, XDP_REDIRECT);
	return bpf_redirect(hop->interface, 0);
}

char terms[] SECTION("license") = "Dual MIT/GPL";
