/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* Frames for the daemon, past the host's network stack. */
#pragma once

#include "accept.h"

/* Gives a frame of a peer that is known to the line of the flow's shard. What others send takes the way through the
 * stack, which holds floods off. */
INLINE int lift(struct xdp_md *context, const struct arrival *arrival)
{
	const struct flow *flow = arrival->flow;
	if (!is_same(&arrival->datagram.source, &flow->source))
		return refuse(VERDICT_PASSED_OTHER_SOURCE);
	__u32 interface = context->ingress_ifindex;
	__u32 queue = context->rx_queue_index;
	const struct interface_lines *found = bpf_map_lookup_elem(&lines_of, &interface);
	if (!found || queue >= found->queues || context->data_end - context->data > LINE_BYTES)
		return refuse(VERDICT_PASSED_NO_LINE);
	int action = bpf_redirect_map(&lines, found->first + flow->group * found->queues + queue, XDP_PASS);
	return end_with(action == XDP_REDIRECT ? VERDICT_LIFTED : VERDICT_PASSED_NO_LINE, action);
}
