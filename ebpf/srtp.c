/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* SRTP that is opened, protected, or both, each with any suite. rx goes on to here. */
#include "capture.h"
#include "fan.h"
#include "protect.h"

/* Takes the packet into work: all of it, without the tag. */
INLINE __u32 take(struct xdp_md *context, const struct arrival *arrival, const struct keys *keys, struct work *work)
{
	__u32 tag_bytes = keys->steps & STEP_OPENS ? keys->open.tag_bytes : 0;
	__u32 bytes = arrival->datagram.payload_bytes;
	if (bytes < RTP_BYTES + tag_bytes)
		return VERDICT_PASSED_MALFORMED;
	__u32 problem = load(context, arrival->datagram.header_bytes, bytes, work);
	if (problem)
		return problem;
	bytes -= tag_bytes;
	work->bytes = bytes;
	work->ssrc = arrival->stream->ssrc;
	work->sequence = arrival->sequence;
	const __u32 *tag = (const __u32 *)(work->packet + (bytes & (PACKET_BYTES - 1)));
	work->tag[0] = tag[0];
	work->tag[1] = tag[1];
	work->tag[2] = tag[2];
	work->tag[3] = tag[3];
	return measure(work);
}

/* Opens the packet in work, if it is to be. 0 or why not. */
INLINE __u32 open_work(const struct arrival *arrival, struct work *work, struct keys *keys, struct order *order)
{
	__u32 problem = 0;
	if (keys->steps & STEP_OPENS)
		problem = place_in(work, &order->opened);
	if (!problem && !goes_on(arrival->stream, arrival->sequence))
		return VERDICT_PASSED_JUMP;
	if (!problem && keys->steps & STEP_OPENS)
		problem = open_packet(work, &keys->open, &order->opened, keys->steps & STEP_DECRYPTS);
	return problem;
}

/* How long the packet in work is once it is opened: one that is only authenticated keeps its tag. */
INLINE __u32 opened_bytes(const struct arrival *arrival, const struct work *work, const struct keys *keys)
{
	return keys->steps & STEP_DECRYPTS ? work->bytes : arrival->datagram.payload_bytes;
}

/* From a packet that belongs to the flow to what its only receiver gets. */
INLINE __u32 pass_on(struct xdp_md *context, const struct arrival *arrival, struct work *work, struct keys *keys,
		     struct order *order, const struct next_hop *hop)
{
	const struct way *way = &arrival->flow->way;
	__u32 problem = take(context, arrival, keys, work);
	if (problem)
		return problem;
	__u32 grows = keys->steps & STEP_PROTECTS ? keys->protect.tag_bytes + keys->insert_bytes : 0;
	if (keys->insert_bytes && work->packet[0] & HAS_MORE_HEADER)
		return VERDICT_PASSED_EXTENSION;
	if (keys->insert_bytes && work->bytes > LONGEST_PACKET - MOST_INSERTED)
		return VERDICT_PASSED_TOO_LONG;
	if (hop && ip_bytes_of(way) + sizeof(struct udphdr) + opened_bytes(arrival, work, keys) + grows > hop->mtu)
		return VERDICT_PASSED_TOO_LONG;
	problem = open_work(arrival, work, keys, order);
	if (problem)
		return problem;
	renumber_work(work, way, arrival->place);
	if (keys->insert_bytes && work->bytes > RTP_BYTES) {
		problem = insert(context, arrival->datagram.header_bytes, work, keys, keys->steps & STEP_DECRYPTS);
		if (problem)
			return problem;
	}
	if (keys->steps & STEP_PROTECTS) {
		problem = protect_next(work, &keys->protect, &order->protected);
		if (problem == VERDICT_REPLAYED)
			arrival->stream->used_index++;
		if (problem)
			return problem;
	}
	return hop ? write(context, way, hop, (__u32)arrival->stream->packets, work) : 0;
}

/* Opens a packet that several receivers get, in its frame. */
INLINE __u32 open_for_all(struct xdp_md *context, const struct arrival *arrival, struct work *work, struct keys *keys,
			  struct order *order, struct fan *fan)
{
	__u32 header_bytes = arrival->datagram.header_bytes;
	__u32 problem = take(context, arrival, keys, work);
	if (!problem)
		problem = prepare(arrival, opened_bytes(arrival, work, keys), work->packet[0], fan);
	if (!problem)
		problem = open_work(arrival, work, keys, order);
	if (problem)
		return problem;
	__u32 bytes = work->bytes;
	__s64 frame_bytes = (void *)(long)context->data_end - (void *)(long)context->data;
	barrier_for(frame_bytes);
	int delta = (int)(header_bytes + bytes) - (int)frame_bytes;
	if (delta < 0 && bpf_xdp_adjust_tail(context, delta))
		return VERDICT_LOST_COPY;
	barrier_for(bytes);
	if (bytes < RTP_BYTES || bytes > LONGEST_PACKET ||
	    bpf_xdp_store_bytes(context, header_bytes, work->packet, bytes))
		return VERDICT_LOST_COPY;
	fan->payload_bytes = bytes;
	fan->sum = (__u32)sum_of_work(work);
	fan->rollover = (__u32)(work->index >> 16);
	return 0;
}

/* Whether a flow is captured. Read anew each time: what is kept in between doubles the paths that the verifier follows. */
INLINE __u32 is_captured(const struct arrival *arrival)
{
	return *(const volatile __u32 *)&arrival->flow->flags & FLOW_IS_CAPTURED;
}

INLINE __u32 has_group(const struct arrival *arrival)
{
	return *(const volatile __u32 *)&arrival->flow->group;
}

SECTION("xdp")
int srtp(struct xdp_md *context)
{
	struct arrival arrival = {};
	struct fan fan = {};
	__u32 verdict = find_flow(context, &arrival);
	if (verdict)
		return refuse(verdict);
	if (unlikely(is_captured(&arrival)))
		keep_frame(context, &arrival);
	verdict = accept(context, &arrival);
	if (verdict && unlikely(is_captured(&arrival)))
		emit_frames(context, &arrival, 0, verdict);
	if (verdict)
		return refuse(verdict);
	struct next_hop *hop = 0;
	if (!has_group(&arrival))
		verdict = find_hop(arrival.flow, &hop);
	if (verdict)
		return refuse(verdict);
	if (arrival.flow->flags & FLOW_DROPS)
		hop = 0;
	__u32 zero = 0, index = arrival.flow->stream;
	struct work *work = bpf_map_lookup_elem(&works, &zero);
	struct order *order = bpf_map_lookup_elem(&orders, &index);
	if (!work || !order)
		return refuse(VERDICT_PASSED_NO_KEYS);
	/* Whoever takes the flow away reads the order, and wipes the keys, when nobody is at it any more. So a flow that is
	 * still there after this stays whole until the end. */
	__sync_fetch_and_add(&order->users, 1);
	struct flow *flow = bpf_map_lookup_elem(&flows, &arrival.datagram.destination);
	struct keys *keys = flow && flow->stream == index ? bpf_map_lookup_elem(&keys_of, &index) : 0;
	if (!keys)
		verdict = VERDICT_PASSED_NO_KEYS;
	else if (has_group(&arrival))
		verdict = open_for_all(context, &arrival, work, keys, order, &fan);
	else
		verdict = pass_on(context, &arrival, work, keys, order, hop);
	__sync_fetch_and_add(&order->users, -1);
	if (verdict == VERDICT_WRONG_TAG)
		arrival.stream->wrong_tag++;
	if (verdict == VERDICT_REPLAYED)
		arrival.stream->replayed++;
	if (unlikely(is_captured(&arrival)))
		emit_frames(context, &arrival, hop, verdict);
	if (verdict)
		return refuse(verdict);
	return has_group(&arrival) ? fan_out(context, &arrival, &fan) : finish(&arrival, hop);
}
