/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* Plain RTP that belongs to a flow: checked, and rewritten where it goes on. */
#pragma once

#include "accept.h"

/* 0, or what becomes of the packet instead. `interface` is that it leaves by; 0: nobody is to hear it. */
INLINE __u32 forward_plain(struct xdp_md *context, struct arrival *arrival, __u32 *interface)
{
	__u32 verdict = accept(context, arrival);
	if (verdict)
		return verdict;
	if (!goes_on(arrival->stream, arrival->sequence))
		return VERDICT_PASSED_JUMP;
	struct next_hop *hop = 0;
	verdict = find_hop(arrival->flow, &hop);
	if (verdict || arrival->flow->flags & FLOW_DROPS || !hop)
		return verdict;
	*interface = hop->interface;
	return rewrite(context, &arrival->datagram, &arrival->flow->way, arrival->place, hop,
		       (__u16)arrival->stream->packets);
}
