/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* SRTP that is opened, protected, or both, each with any suite, and media that is silenced. rx goes on to here. */
#include "capture.h"
#include "fan.h"
#include "protect.h"

/* Takes the packet into work: all of it, without the tag that is so long. */
SEPARATE __u32 take(struct xdp_md *context, const struct datagram *datagram, __u32 tag_bytes, struct work *work)
{
	if (!datagram || !work)
		return VERDICT_PASSED_NO_KEYS;
	__u32 bytes = datagram->payload_bytes;
	if (bytes < RTP_BYTES + tag_bytes)
		return VERDICT_PASSED_MALFORMED;
	__u32 problem = load(context, datagram->header_bytes, bytes, work);
	if (problem)
		return problem;
	bytes -= tag_bytes;
	work->bytes = bytes;
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

/* Whether the only receiver can get what the packet in work becomes. 0 or why not. */
INLINE __u32 fits(const struct arrival *arrival, const struct work *work, const struct keys *keys,
		  const struct next_hop *hop)
{
	__u32 grows = keys->steps & STEP_PROTECTS ? keys->protect.tag_bytes + keys->insert_bytes : 0;
	if (keys->insert_bytes && work->packet[0] & HAS_MORE_HEADER)
		return VERDICT_PASSED_EXTENSION;
	if (keys->insert_bytes && work->bytes > LONGEST_PACKET - MOST_INSERTED)
		return VERDICT_PASSED_TOO_LONG;
	__u32 headers = ip_bytes_of(&arrival->flow->way) + sizeof(struct udphdr);
	if (hop && headers + opened_bytes(arrival, work, keys) + grows > hop->mtu)
		return VERDICT_PASSED_TOO_LONG;
	return 0;
}

/* Makes of the opened packet what its only receiver gets. */
INLINE __u32 pass_on(struct xdp_md *context, const struct arrival *arrival, struct work *work, struct keys *keys,
		     struct order *order, const struct next_hop *hop)
{
	const struct way *way = &arrival->flow->way;
	renumber_work(work, way, arrival->place);
	if (keys->insert_bytes && work->bytes > RTP_BYTES) {
		__u32 problem = insert(context, arrival->datagram.header_bytes, work, insertion_of(keys),
				       keys->steps & STEP_DECRYPTS);
		if (problem)
			return problem;
	}
	__u32 kind = silence_of(way, arrival->place);
	if (kind) {
		__u32 problem = silence(work, kind);
		if (problem)
			return problem;
	}
	if (keys->steps & STEP_PROTECTS) {
		__u32 problem = protect_next(work, &keys->protect, &order->protected);
		if (problem == VERDICT_REPLAYED)
			arrival->stream->used_index++;
		if (problem)
			return problem;
	}
	return hop ? write(context, way, hop, (__u32)arrival->stream->packets, work) : 0;
}

/* Puts the opened packet, which several receivers get, back into its frame. */
INLINE __u32 put_back(struct xdp_md *context, const struct arrival *arrival, struct work *work, struct fan *fan)
{
	__u32 header_bytes = arrival->datagram.header_bytes, bytes = work->bytes;
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

/* The verdict as it is, by way of memory: so the verifier follows what comes after once, not once for each verdict. */
INLINE __u32 settle(struct work *work, __u32 verdict)
{
	*(volatile __u32 *)&work->verdict = verdict;
	return *(volatile __u32 *)&work->verdict;
}

/* From a packet that belongs to the flow to what its receivers get. */
INLINE __u32 work_off(struct xdp_md *context, const struct arrival *arrival, __u32 group, struct work *work,
		      struct keys *keys, struct order *order, struct fan *fan)
{
	struct next_hop *hop = 0;
	__u32 unknown = group ? 0 : find_hop(arrival->flow, &hop);
	if (unknown)
		return unknown;
	if (arrival->flow->flags & FLOW_DROPS)
		hop = 0;
	if (hop)
		work->interface = hop->interface;
	work->ssrc = arrival->stream->ssrc;
	work->sequence = arrival->sequence;
	__u32 tag_bytes = keys->steps & STEP_OPENS ? keys->open.tag_bytes : 0;
	__u32 verdict = settle(work, take(context, &arrival->datagram, tag_bytes, work));
	if (verdict)
		return verdict;
	if (group)
		verdict = prepare(arrival, opened_bytes(arrival, work, keys), work->packet[0], fan);
	else
		verdict = fits(arrival, work, keys, hop);
	if (!verdict)
		verdict = open_work(arrival, work, keys, order);
	verdict = settle(work, verdict);
	if (verdict)
		return verdict;
	return group ? put_back(context, arrival, work, fan)
		     : pass_on(context, arrival, work, keys, order, hop);
}

/* Reads what the packet will need of its keys and its order, all at once, see fetch_lines(): what counts the users would have
 * them come one after the other. */
INLINE void fetch(const struct keys *keys, const struct order *order, __u16 sequence)
{
	const struct direction *direction = keys->steps & STEP_OPENS ? &keys->open : &keys->protect;
	const struct window *window = keys->steps & STEP_OPENS ? &order->opened : &order->protected;
	(void)*(const volatile __u32 *)&direction->cipher;
	(void)*(const volatile __u32 *)&direction->outer[4];
	(void)*(const volatile __u32 *)&direction->cipher_keys.words[0];
	(void)*(const volatile __u32 *)&direction->cipher_keys.words[16];
	(void)*(const volatile __u32 *)&direction->cipher_keys.words[32];
	(void)*(const volatile __u64 *)&window->slots[sequence & (WINDOW_SLOTS - 1)];
	(void)*(const volatile __u64 *)&window->highest;
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
		keep_frame(context, &arrival.datagram);
	verdict = accept(context, &arrival);
	if (verdict && unlikely(is_captured(&arrival)))
		emit_frames(context, 0, verdict);
	if (verdict)
		return refuse(verdict);
	__u32 group = arrival.flow->group;
	__u32 zero = 0, index = arrival.slot;
	struct work *work = bpf_map_lookup_elem(&works, &zero);
	struct order *order = bpf_map_lookup_elem(&orders, &index);
	struct keys *keys = bpf_map_lookup_elem(&keys_of, &index);
	if (!work || !order || !keys)
		return refuse(VERDICT_PASSED_NO_KEYS);
	fetch(keys, order, arrival.sequence);
	/* Whoever takes the flow away reads the order, and wipes the keys, when nobody is at it any more. So a flow that is
	 * still there after this stays whole until the end. */
	__sync_fetch_and_add(&order->users, 1);
	__u64 lead = lead_to(&arrival.datagram);
	keys = lead && lead >> 32 == index ? bpf_map_lookup_elem(&keys_of, &index) : 0;
	work->interface = 0;
	verdict = keys ? work_off(context, &arrival, group, work, keys, order, &fan) : VERDICT_PASSED_NO_KEYS;
	__sync_fetch_and_add(&order->users, -1);
	verdict = settle(work, verdict);
	if (verdict == VERDICT_WRONG_TAG)
		arrival.stream->wrong_tag++;
	if (verdict == VERDICT_REPLAYED)
		arrival.stream->replayed++;
	if (unlikely(is_captured(&arrival)))
		emit_frames(context, work->interface, verdict);
	if (verdict)
		return refuse(verdict);
	return group ? fan_out(context, &arrival, &fan) : finish(&arrival, work->interface);
}
