/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* Plain RTP that belongs to a flow: checked, and rewritten where it goes on. */
#pragma once

#include "accept.h"

/* 0, or what becomes of the packet instead. */
INLINE __u32 forward_plain(struct xdp_md *context, struct arrival *arrival, struct next_hop **hop)
{
	__u32 verdict = accept(context, arrival);
	if (verdict)
		return verdict;
	if (!goes_on(arrival->stream, arrival->sequence))
		return VERDICT_PASSED_JUMP;
	verdict = find_hop(arrival->flow, hop);
	if (verdict)
		return verdict;
	if (!(arrival->flow->flags & FLOW_DROPS) && *hop)
		return rewrite(context, &arrival->datagram, &arrival->flow->way, arrival->place, *hop,
			       (__u16)arrival->stream->packets);
	return 0;
}
