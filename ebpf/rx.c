/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* RTP whose way is known goes on from here; everything else is left to the daemon. */
#include "capture.h"
#include "fan.h"
#include "lift.h"
#include "plain.h"

SECTION("xdp")
int rx(struct xdp_md *context)
{
	struct arrival arrival = {};
	__u32 verdict = find_flow(context, &arrival);
	if (verdict)
		return refuse(verdict);
	if (unlikely(arrival.flow->flags & FLOW_IS_LIFTED))
		return lift(context, &arrival);
	if (unlikely(arrival.flow->flags & FLOW_IS_FOR_TC))
		return refuse(VERDICT_PASSED_TO_TC);
	if (unlikely(arrival.flow->flags & FLOW_IS_SRTP)) {
		bpf_tail_call(context, &programs, PROGRAM_SRTP);
		return refuse(VERDICT_PASSED_NO_KEYS);
	}
	if (unlikely(arrival.flow->flags & FLOW_IS_CAPTURED))
		bpf_tail_call(context, &watchers, 0);
	if (arrival.flow->group)
		return fan_out_plain(context, &arrival);
	__u32 interface = 0;
	verdict = forward_plain(context, &arrival, &interface);
	return verdict ? refuse(verdict) : finish(&arrival, interface);
}
