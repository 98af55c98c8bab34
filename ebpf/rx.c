/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* RTP whose way is known goes on from here; everything else is left to the daemon. */
#include "accept.h"

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
	struct next_hop *hop;
	verdict = find_hop(arrival.flow, &hop);
	if (verdict)
		return refuse(verdict);
	if (!(arrival.flow->flags & FLOW_DROPS) && hop) {
		verdict = rewrite(context, &arrival.datagram, arrival.flow, hop, (__u16)arrival.stream->packets);
		if (verdict)
			return refuse(verdict);
	}
	return finish(&arrival, hop);
}
