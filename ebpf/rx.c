/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* RTP whose way is known goes on from here; everything else is left to the daemon. */
#include "fan.h"

SECTION("xdp")
int rx(struct xdp_md *context)
{
	struct arrival arrival = {};
	__u32 verdict = find_flow(context, &arrival);
	if (verdict)
		return refuse(verdict);
	if (unlikely(arrival.flow->flags & FLOW_IS_FOR_TC))
		return refuse(VERDICT_PASSED_TO_TC);
	if (unlikely(arrival.flow->flags & FLOW_IS_SRTP)) {
		bpf_tail_call(context, &programs, PROGRAM_SRTP);
		return refuse(VERDICT_PASSED_NO_KEYS);
	}
	verdict = accept(context, &arrival);
	if (verdict)
		return refuse(verdict);
	if (!goes_on(arrival.stream, arrival.sequence))
		return refuse(VERDICT_PASSED_JUMP);
	if (arrival.flow->group) {
		struct datagram *datagram = &arrival.datagram;
		struct fan fan = { .payload_bytes = datagram->payload_bytes };
		struct rtp_header *rtp = (struct rtp_header *)(datagram->udp + 1);
		if ((void *)(rtp + 1) > (void *)(long)context->data_end)
			return refuse(VERDICT_PASSED_NOT_RTP);
		verdict = prepare(&arrival, fan.payload_bytes, rtp->first, &fan);
		if (verdict)
			return refuse(verdict);
		__s64 sum = sum_of(datagram->udp + 1, (void *)(long)context->data_end, datagram->payload_bytes);
		if (sum < 0)
			return refuse(VERDICT_PASSED_TOO_LONG);
		fan.sum = (__u32)sum + (__u32)((__u64)sum >> 32);
		return fan_out(context, &arrival, &fan);
	}
	struct next_hop *hop;
	verdict = find_hop(arrival.flow, &hop);
	if (verdict)
		return refuse(verdict);
	if (!(arrival.flow->flags & FLOW_DROPS) && hop) {
		verdict = rewrite(context, &arrival.datagram, &arrival.flow->way, arrival.place, hop,
				  (__u16)arrival.stream->packets);
		if (verdict)
			return refuse(verdict);
	}
	return finish(&arrival, hop);
}
