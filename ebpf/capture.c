/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* What rx does, for flows that are captured. They come to here from rx. */
#include "capture.h"
#include "plain.h"

SECTION("xdp")
int rx_captured(struct xdp_md *context)
{
	struct arrival arrival = {};
	__u32 verdict = find_flow(context, &arrival);
	if (verdict)
		return refuse(verdict);
	keep_frame(context, &arrival.datagram);
	__u32 interface = 0;
	verdict = forward_plain(context, &arrival, &interface);
	emit_frames(context, interface, verdict);
	return verdict ? refuse(verdict) : finish(&arrival, interface);
}
