/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* SRTP with AES in counter mode and HMAC-SHA1 (RFC 3711, RFC 6188): opened, protected, or both. rx goes on to here. */
#include "accept.h"
#include "aes.h"
#include "capture.h"
#include "order.h"
#include "sha1.h"

/* Takes the packet into work: all of it, without the tag. */
INLINE __u32 take(struct xdp_md *context, const struct arrival *arrival, const struct keys *keys, struct work *work)
{
	__u32 tag_bytes = keys->steps & STEP_OPENS ? keys->open.tag_bytes : 0;
	__u32 bytes = arrival->datagram.payload_bytes;
	if (bytes < RTP_BYTES + tag_bytes)
		return VERDICT_PASSED_MALFORMED;
	if (bytes > LONGEST_PACKET)
		return VERDICT_PASSED_TOO_LONG;
	barrier_for(bytes);
	if (bytes < RTP_BYTES || bytes > LONGEST_PACKET)
		return VERDICT_PASSED_MALFORMED;
	if (bpf_xdp_load_bytes(context, arrival->datagram.header_bytes, work->packet, bytes))
		return VERDICT_PASSED_MALFORMED;
	bytes -= tag_bytes;
	work->bytes = bytes;
	work->ssrc = arrival->stream->ssrc;
	work->sequence = arrival->sequence;
	const __u32 *tag = (const __u32 *)(work->packet + (bytes & (PACKET_BYTES - 1)));
	work->tag[0] = tag[0];
	work->tag[1] = tag[1];
	work->tag[2] = tag[2];
	__u8 first = work->packet[0];
	__u32 header_bytes = RTP_BYTES + 4 * (first & 0x0f);
	if (first & 0x10) {
		__be16 words = *(__be16 *)(work->packet + header_bytes + 2);
		header_bytes += 4 + 4 * from_be16(words);
	}
	if (header_bytes > bytes)
		return VERDICT_PASSED_MALFORMED;
	work->header_bytes = header_bytes;
	return 0;
}

/* Whether the tag that came is the beginning of the code; the time does not depend on where they differ. */
INLINE int has_tag(const struct work *work, __u32 tag_bytes)
{
	__u32 wrong = work->tag[0] ^ to_be32(work->hash[0]);
	if (tag_bytes == 10) {
		wrong |= work->tag[1] ^ to_be32(work->hash[1]);
		wrong |= (work->tag[2] ^ to_be32(work->hash[2])) & to_be32(0xffff0000);
	}
	return !wrong;
}

INLINE void append_tag(struct work *work, const __u32 words[3], __u32 tag_bytes)
{
	__u32 bytes = work->bytes & (PACKET_BYTES - 1);
	__u32 *behind = (__u32 *)(work->packet + bytes);
	behind[0] = words[0];
	if (tag_bytes == 10) {
		behind[1] = words[1];
		*(__u16 *)(behind + 2) = (__u16)words[2];
	}
	work->bytes = bytes + tag_bytes;
}

/* Authenticates the packet, and decrypts it if it is to be. 0 or why not. */
SEPARATE __u32 open_packet(struct work *work, const struct direction *keys, struct window *window, __u32 decrypts)
{
	if (!work || !keys || !window)
		return VERDICT_PASSED_NO_KEYS;
	if (authenticate(work, keys))
		return VERDICT_PASSED_NO_KEYS;
	if (!has_tag(work, keys->tag_bytes))
		return VERDICT_WRONG_TAG;
	__u32 problem = commit(work, window);
	if (problem)
		return problem;
	if (decrypts) {
		if (counter_mode(work, keys))
			return VERDICT_PASSED_NO_KEYS;
	} else {
		append_tag(work, work->tag, keys->tag_bytes);
	}
	return 0;
}

/* Encrypts the packet, whose index is its own, and appends the tag. */
SEPARATE __u32 protect_packet(struct work *work, const struct direction *keys)
{
	if (!work || !keys || counter_mode(work, keys) || authenticate(work, keys))
		return VERDICT_PASSED_NO_KEYS;
	__u32 words[3] = { to_be32(work->hash[0]), to_be32(work->hash[1]), to_be32(work->hash[2]) };
	append_tag(work, words, keys->tag_bytes);
	return 0;
}

/* The sum of the words of what is in work. */
SEPARATE __s64 sum_of_work(struct work *work)
{
	if (!work)
		return -1;
	__u32 bytes = work->bytes & (PACKET_BYTES - 1);
	/* Up to the next word, zeros count for nothing. */
	*(__u32 *)(work->packet + bytes) = 0;
	bytes += 3;
	__s64 sum = 0;
	__u32 at = 0;
	/* Older kernels take no more than 512 bytes at once. */
	for (; at < 3 * 512; at += 512) {
		if (at + 512 > bytes)
			break;
		sum = bpf_csum_diff(0, 0, (__be32 *)(work->packet + at), 512, (__u32)sum);
	}
	__u32 rest = bytes & 508;
	if (at <= 3 * 512 && rest)
		sum = bpf_csum_diff(0, 0, (__be32 *)(work->packet + at), rest, (__u32)sum);
	return (__u32)sum;
}

/* Puts new headers and the packet of work into the frame. 0, or VERDICT_PASSED_*, where the frame is as it was. */
INLINE __u32 write(struct xdp_md *context, const struct arrival *arrival, const struct next_hop *hop, struct work *work)
{
	const struct flow *flow = arrival->flow;
	__u32 bytes = work->bytes;
	__u32 udp_bytes = bytes + sizeof(struct udphdr);
	if (bytes < RTP_BYTES || bytes > LONGEST_PACKET + 16)
		return VERDICT_PASSED_TOO_LONG;
	__u64 sum = add_pseudo(sum_of_work(work), &flow->local, &flow->destination) + flow->local.port;
	sum += (__u64)flow->destination.port + to_be16(IPPROTO_UDP) + to_be16(udp_bytes) + to_be16(udp_bytes);
	__u16 checksum = ~fold(sum);
	__u32 header_bytes = header_bytes_of(flow, hop);
	__s64 frame_bytes = (void *)(long)context->data_end - (void *)(long)context->data;
	/* The compiler would subtract in 32 bits, which no pointer has. */
	barrier_for(frame_bytes);
	/* All that comes or goes does so in front: not every device lets a frame grow behind. */
	int delta = (int)frame_bytes - (int)(header_bytes + bytes);
	__u32 problem = write_headers(context, delta, flow, hop, (__u16)arrival->stream->packets, udp_bytes,
				      checksum ? checksum : 0xffff);
	if (problem)
		return problem;
	barrier_for(bytes);
	if (bytes < RTP_BYTES || bytes > LONGEST_PACKET + 16 ||
	    bpf_xdp_store_bytes(context, header_bytes, work->packet, bytes))
		return VERDICT_PASSED_TOO_LONG;
	return 0;
}

/* From a packet that belongs to the flow to what becomes of it. */
INLINE __u32 pass_on(struct xdp_md *context, const struct arrival *arrival, struct work *work, struct keys *keys,
		     struct order *order, const struct next_hop *hop)
{
	struct stream *stream = arrival->stream;
	__u32 steps = keys->steps;
	__u32 problem = take(context, arrival, keys, work);
	if (problem)
		return problem;
	__u32 grows = steps & STEP_PROTECTS ? keys->protect.tag_bytes : 0;
	if (hop && ip_bytes_of(arrival->flow) + sizeof(struct udphdr) + work->bytes + grows > hop->mtu)
		return VERDICT_PASSED_TOO_LONG;
	if (steps & STEP_OPENS) {
		problem = estimate(work, &order->opened);
		if (!problem)
			problem = check(work, &order->opened);
		if (!problem && !goes_on(stream, arrival->sequence))
			return VERDICT_PASSED_JUMP;
		if (!problem)
			problem = open_packet(work, &keys->open, &order->opened, steps & STEP_DECRYPTS);
		if (problem)
			return problem;
	} else if (!goes_on(stream, arrival->sequence)) {
		return VERDICT_PASSED_JUMP;
	}
	if (steps & STEP_PROTECTS) {
		problem = estimate(work, &order->protected);
		if (!problem)
			problem = check(work, &order->protected);
		if (!problem)
			problem = commit(work, &order->protected);
		if (problem == VERDICT_REPLAYED)
			stream->used_index++;
		if (problem)
			return problem;
		problem = protect_packet(work, &keys->protect);
		if (problem)
			return problem;
	}
	return hop ? write(context, arrival, hop, work) : 0;
}

SECTION("xdp")
int srtp_cm(struct xdp_md *context)
{
	struct arrival arrival = {};
	__u32 verdict = find_flow(context, &arrival);
	if (verdict)
		return refuse(verdict);
	__u32 is_captured = arrival.flow->flags & FLOW_IS_CAPTURED;
	if (unlikely(is_captured))
		keep_frame(context, &arrival);
	verdict = accept(context, &arrival);
	if (unlikely(is_captured) && verdict)
		emit_frames(context, &arrival, 0, verdict);
	if (verdict)
		return refuse(verdict);
	struct next_hop *hop;
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
	verdict = keys ? pass_on(context, &arrival, work, keys, order, hop) : VERDICT_PASSED_NO_KEYS;
	__sync_fetch_and_add(&order->users, -1);
	if (verdict == VERDICT_WRONG_TAG)
		arrival.stream->wrong_tag++;
	if (verdict == VERDICT_REPLAYED)
		arrival.stream->replayed++;
	if (unlikely(is_captured))
		emit_frames(context, &arrival, hop, verdict);
	return verdict ? refuse(verdict) : finish(&arrival, hop);
}
