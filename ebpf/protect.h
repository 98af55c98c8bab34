/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* Packets of SRTP opened and protected (RFC 3711, RFC 6188, RFC 7714), with any suite, and written back into a frame. */
#pragma once

#include "aes.h"
#include "f8.h"
#include "forward.h"
#include "gcm.h"
#include "order.h"
#include "sha1.h"

/* Takes the payload of a frame into work. 0 or why not. */
INLINE __u32 load(struct xdp_md *context, __u32 header_bytes, __u32 bytes, struct work *work)
{
	if (bytes > LONGEST_PACKET)
		return VERDICT_PASSED_TOO_LONG;
	barrier_for(bytes);
	if (bytes < RTP_BYTES || bytes > LONGEST_PACKET)
		return VERDICT_PASSED_MALFORMED;
	if (bpf_xdp_load_bytes(context, header_bytes, work->packet, bytes))
		return VERDICT_PASSED_MALFORMED;
	work->bytes = bytes;
	return 0;
}

/* Measures the header of the packet in work. 0 or why not. */
INLINE __u32 measure(struct work *work)
{
	__u8 first = work->packet[0];
	__u32 header_bytes = RTP_BYTES + 4 * (first & 0x0f);
	if (first & 0x10) {
		__be16 words = *(__be16 *)(work->packet + header_bytes + 2);
		header_bytes += 4 + 4 * from_be16(words);
	}
	if (header_bytes > work->bytes)
		return VERDICT_PASSED_MALFORMED;
	work->header_bytes = header_bytes;
	return 0;
}

/* Gives the packet in work the numbers of its receiver. */
INLINE void renumber_work(struct work *work, const struct way *way, __u32 place)
{
	if (way->renumbers)
		renumber((struct rtp_header *)work->packet, way, place);
	work->ssrc = way->ssrc;
}

/* In the first byte of a packet: contributing sources and an extension of the header. */
#define HAS_MORE_HEADER 0x1f
#define HAS_PADDING 0x20

/* The part of struct keys that says what is put into packets: functions of their own can't be given all of it, for its lock. */
struct insertion {
	__u32 bytes;
	__u8 text[MOST_INSERTED];
};

INLINE const struct insertion *insertion_of(const struct keys *keys)
{
	return (const struct insertion *)&keys->insert_bytes;
}

/* Puts a header extension into the packet in work, whose header has neither another one nor contributing sources. What
 * is behind the header comes from the frame anew, where it has to be put first if it is not there as it is here. */
SEPARATE __u32 insert(struct xdp_md *context, __u32 header_bytes, struct work *work, const struct insertion *what,
		      __u32 is_decrypted)
{
	if (!work || !what)
		return VERDICT_PASSED_NO_KEYS;
	__u32 bytes = work->bytes, more = what->bytes & 28;
	barrier_for(bytes);
	if (bytes <= RTP_BYTES || bytes > LONGEST_PACKET - MOST_INSERTED)
		return VERDICT_PASSED_TOO_LONG;
	if (is_decrypted && bpf_xdp_store_bytes(context, header_bytes, work->packet, bytes))
		return VERDICT_LOST_COPY;
	__builtin_memcpy(work->packet + RTP_BYTES, what->text, MOST_INSERTED);
	__u32 rest = bytes - RTP_BYTES;
	barrier_for(rest);
	if (!rest || rest > LONGEST_PACKET ||
	    bpf_xdp_load_bytes(context, header_bytes + RTP_BYTES, work->packet + RTP_BYTES + more, rest))
		return VERDICT_LOST_COPY;
	work->packet[0] |= 0x10;
	work->bytes = bytes + more;
	work->header_bytes += more;
	return 0;
}

/* Where silence is to be written. */
struct silencing {
	struct work *work;
	__u32 at;
	__u64 word;
};

static long silence_word(__u32 count, struct silencing *silencing)
{
	__u32 at = (silencing->at + 8 * count) & (PACKET_BYTES - 1);
	*(__u64 *)(silencing->work->packet + at) = silencing->word;
	return 0;
}

/* What stands in for payloads of a place. */
INLINE __u32 silence_of(const struct way *way, __u32 place)
{
	return way->silences >> 2 * (place & (MOST_PAYLOAD_TYPES - 1)) & 3;
}

/* Puts silence in the place of the payload in work; padding stays. 0 or why not. */
SEPARATE __u32 silence(struct work *work, __u32 kind)
{
	if (!work)
		return VERDICT_PASSED_NO_KEYS;
	__u32 begin = work->header_bytes & (PACKET_BYTES - 1), end = work->bytes & (PACKET_BYTES - 1);
	if (work->packet[0] & HAS_PADDING) {
		__u32 padding = work->packet[(end - 1) & (PACKET_BYTES - 1)];
		if (!padding || begin + padding > end)
			return VERDICT_PASSED_MALFORMED;
		end = (end - padding) & (PACKET_BYTES - 1);
	}
	struct silencing silencing = { .work = work, .at = begin };
	silencing.word = IN_EACH_BYTE * (kind == SILENCE_PCMU ? 0xff : kind == SILENCE_PCMA ? 0xd5 : 0xfa);
	/* The last word reaches beyond the end. */
	__u64 *behind = (__u64 *)(work->packet + end), kept = *behind;
	long turns = begin < end ? bpf_loop((end - begin + 7) / 8, silence_word, &silencing, 0) : 0;
	*behind = kept;
	return turns < 0 ? VERDICT_PASSED_MALFORMED : 0;
}

/* Whether the tag that came is the beginning of the code; the time does not depend on where they differ. */
INLINE int has_tag(const struct work *work, __u32 tag_bytes)
{
	__u32 wrong = work->tag[0] ^ to_be32(work->hash[0]);
	if (tag_bytes == 10) {
		wrong |= work->tag[1] ^ to_be32(work->hash[1]);
		wrong |= (work->tag[2] ^ to_be32(work->hash[2])) & to_be32(0xffff0000);
	} else if (tag_bytes == 16) {
		wrong |= work->tag[1] ^ to_be32(work->hash[1]);
		wrong |= work->tag[2] ^ to_be32(work->hash[2]);
		wrong |= work->tag[3] ^ to_be32(work->hash[3]);
	}
	return !wrong;
}

INLINE void append_tag(struct work *work, const __u32 words[4], __u32 tag_bytes)
{
	__u32 bytes = work->bytes & (PACKET_BYTES - 1);
	__u32 *behind = (__u32 *)(work->packet + bytes);
	behind[0] = words[0];
	if (tag_bytes == 10) {
		behind[1] = words[1];
		*(__u16 *)(behind + 2) = (__u16)words[2];
	} else if (tag_bytes == 16) {
		behind[1] = words[1];
		behind[2] = words[2];
		behind[3] = words[3];
	}
	work->bytes = bytes + tag_bytes;
}

/* Encrypts the packet, or decrypts it. */
INLINE int apply_cipher(struct work *work, const struct direction *keys)
{
	if (keys->cipher == CIPHER_NONE)
		return 0;
	return keys->cipher == CIPHER_F8 ? f8_mode(work, keys) : counter_mode(work, keys);
}

/* The code of the packet as it is on the wire, into work->hash. */
INLINE int make_code(struct work *work, const struct direction *keys)
{
	return keys->cipher == CIPHER_GCM ? gcm_tag(work, keys) : authenticate(work, keys);
}

/* Authenticates the packet, and decrypts it if it is to be. 0 or why not. */
SEPARATE __u32 open_packet(struct work *work, const struct direction *keys, struct window *window, __u32 decrypts)
{
	if (!work || !keys || !window)
		return VERDICT_PASSED_NO_KEYS;
	if (make_code(work, keys))
		return VERDICT_PASSED_NO_KEYS;
	if (!has_tag(work, keys->tag_bytes))
		return VERDICT_WRONG_TAG;
	__u32 problem = commit(work, window);
	if (problem)
		return problem;
	if (decrypts) {
		if (apply_cipher(work, keys))
			return VERDICT_PASSED_NO_KEYS;
	} else {
		append_tag(work, work->tag, keys->tag_bytes);
	}
	return 0;
}

/* Encrypts the packet, whose index is its own, and appends the tag. */
SEPARATE __u32 protect_packet(struct work *work, const struct direction *keys)
{
	if (!work || !keys || apply_cipher(work, keys) || make_code(work, keys))
		return VERDICT_PASSED_NO_KEYS;
	__u32 words[4] = { to_be32(work->hash[0]), to_be32(work->hash[1]), to_be32(work->hash[2]),
			   to_be32(work->hash[3]) };
	append_tag(work, words, keys->tag_bytes);
	return 0;
}

/* Gives the packet the next step towards its receiver: its index there, which nobody has had before, and protection. */
INLINE __u32 protect_next(struct work *work, const struct direction *keys, struct window *window)
{
	__u32 problem = place_in(work, window);
	if (!problem)
		problem = commit(work, window);
	return problem ? problem : protect_packet(work, keys);
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
SEPARATE __u32 write(struct xdp_md *context, const struct way *way, const struct next_hop *hop, __u32 id,
		     struct work *work)
{
	if (!way || !hop || !work)
		return VERDICT_PASSED_NO_NEIGHBOUR;
	__u32 bytes = work->bytes;
	__u32 udp_bytes = bytes + sizeof(struct udphdr);
	if (bytes < RTP_BYTES || bytes > LONGEST_PACKET + 16)
		return VERDICT_PASSED_TOO_LONG;
	__u32 header_bytes = header_bytes_of(way, hop);
	__s64 frame_bytes = (void *)(long)context->data_end - (void *)(long)context->data;
	/* The compiler would subtract in 32 bits, which no pointer has. */
	barrier_for(frame_bytes);
	/* All that comes or goes does so in front: not every device lets a frame grow behind. */
	struct headers headers = {
		.delta = (int)frame_bytes - (int)(header_bytes + bytes),
		.udp_bytes = udp_bytes,
		.id = (__u16)id,
		.checksum = whole_checksum(sum_of_work(work), way, udp_bytes),
	};
	__u32 problem = write_headers(context, way, hop, &headers);
	if (problem)
		return problem;
	barrier_for(bytes);
	if (bytes < RTP_BYTES || bytes > LONGEST_PACKET + 16 ||
	    bpf_xdp_store_bytes(context, header_bytes, work->packet, bytes))
		return VERDICT_PASSED_TOO_LONG;
	return 0;
}
