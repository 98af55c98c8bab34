/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* HMAC-SHA1 (RFC 2104, FIPS 180-4) over a packet and its rollover counter, from where the key's blocks have left it. */
#pragma once

#include "kernel.h"
#include "layout.h"
#include "work.h"

#define SHA1_BLOCK_BYTES 64
#define SHA1_DIGEST_BYTES 20

INLINE __u32 rotate(__u32 word, __u32 by)
{
	return word << by | word >> (32 - by);
}

/* The next word of the schedule, which takes the place of the one 16 before. */
#define SCHEDULED(t)                                                                                         \
	(words[(t) & 15] = rotate(words[((t) + 13) & 15] ^ words[((t) + 8) & 15] ^ words[((t) + 2) & 15] ^ \
					  words[(t) & 15], 1))

#define ROUND(function, constant, word)                                  \
	{                                                                \
		__u32 next = rotate(a, 5) + (function) + e + (constant) + (word); \
		e = d;                                                   \
		d = c;                                                   \
		c = rotate(b, 30);                                       \
		b = a;                                                   \
		a = next;                                                \
	}

/* Hashes the block at `offset` of the packet into work->hash. */
SEPARATE int sha1_block(struct work *work, __u32 offset)
{
	if (!work)
		return -1;
	const __be32 *block = (const __be32 *)(work->packet + (offset & (PACKET_BYTES - SHA1_BLOCK_BYTES)));
	__u32 *words = work->schedule;
	__u32 a = work->hash[0], b = work->hash[1], c = work->hash[2], d = work->hash[3], e = work->hash[4];
#pragma unroll
	for (int t = 0; t < 16; t++) {
		__u32 word = from_be32(block[t]);
		words[t] = word;
		ROUND((b & (c ^ d)) ^ d, 0x5a827999, word)
	}
#pragma unroll
	for (int t = 16; t < 20; t++)
		ROUND((b & (c ^ d)) ^ d, 0x5a827999, SCHEDULED(t))
#pragma unroll
	for (int t = 20; t < 40; t++)
		ROUND(b ^ c ^ d, 0x6ed9eba1, SCHEDULED(t))
#pragma unroll
	for (int t = 40; t < 60; t++)
		ROUND((b & c) | (d & (b | c)), 0x8f1bbcdc, SCHEDULED(t))
#pragma unroll
	for (int t = 60; t < 80; t++)
		ROUND(b ^ c ^ d, 0xca62c1d6, SCHEDULED(t))
	work->hash[0] += a;
	work->hash[1] += b;
	work->hash[2] += c;
	work->hash[3] += d;
	work->hash[4] += e;
	return 0;
}

/* Puts the end of a message of so many bytes behind it: a bit, zeros, the length. The blocks that there are then. */
INLINE __u32 pad(struct work *work, __u32 bytes)
{
	/* There is room for eight words and a half behind every packet. */
	bytes &= PACKET_BYTES - 1;
	__u64 *behind = (__u64 *)(work->packet + bytes);
#pragma unroll
	for (int word = 0; word < 9; word++)
		behind[word] = 0;
	work->packet[bytes] = 0x80;
	__u32 last = (bytes + 8) & (PACKET_BYTES - SHA1_BLOCK_BYTES);
	*(__be32 *)(work->packet + (last | 60)) = to_be32((SHA1_BLOCK_BYTES + bytes) * 8);
	return last / SHA1_BLOCK_BYTES + 1;
}

static long next_sha1_block(__u32 count, struct work **work)
{
	sha1_block(*work, count * SHA1_BLOCK_BYTES);
	return 0;
}

/* The code of the packet and the rollover counter (RFC 3711, section 4.2.1), into work->hash. What was behind the packet
 * is lost. */
SEPARATE int authenticate(struct work *work, const struct direction *keys)
{
	if (!work || !keys)
		return -1;
	__u32 bytes = work->bytes & (PACKET_BYTES - 1);
	*(__be32 *)(work->packet + bytes) = to_be32((__u32)(work->index >> 16));
	__u32 blocks = pad(work, bytes + 4);
#pragma unroll
	for (int word = 0; word < 5; word++)
		work->hash[word] = keys->inner[word];
	if (bpf_loop(blocks, next_sha1_block, &work, 0) < 0)
		return -1;
	__be32 *outer = (__be32 *)(work->packet + OUTER_BLOCK);
#pragma unroll
	for (int word = 0; word < 16; word++)
		outer[word] = 0;
#pragma unroll
	for (int word = 0; word < 5; word++) {
		outer[word] = to_be32(work->hash[word]);
		work->hash[word] = keys->outer[word];
	}
	outer[5] = to_be32(0x80000000);
	outer[15] = to_be32((SHA1_BLOCK_BYTES + SHA1_DIGEST_BYTES) * 8);
	return sha1_block(work, OUTER_BLOCK);
}
