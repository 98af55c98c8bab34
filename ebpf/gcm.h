/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* The tag of AES-GCM (NIST SP 800-38D; RFC 7714). Its hash takes the same time for all keys and packets, and no table: one
 * for each key would be 4 KB that a processor with many flows has to fetch anew for each packet. */
#pragma once

#include "aes.h"
#include "kernel.h"
#include "layout.h"
#include "work.h"

#define GCM_BLOCK_BYTES 16

/* The bits of x at every fourth place, from `place` on. */
#define EVERY_FOURTH(x, place) ((x) & 0x1111111111111111ULL << (place))

/* The low half of the product of two polynomials over GF(2). The processor's product of numbers with three zeros between
 * their bits has the polynomials' bit at every fourth place: less than sixteen ones add up at each but the highest, so what
 * is carried stays in between, and what the highest carries is no part of the half. */
INLINE __u64 carryless(__u64 a, __u64 b)
{
	__u64 a0 = EVERY_FOURTH(a, 0), a1 = EVERY_FOURTH(a, 1), a2 = EVERY_FOURTH(a, 2), a3 = EVERY_FOURTH(a, 3);
	__u64 b0 = EVERY_FOURTH(b, 0), b1 = EVERY_FOURTH(b, 1), b2 = EVERY_FOURTH(b, 2), b3 = EVERY_FOURTH(b, 3);
	__u64 product = EVERY_FOURTH(a0 * b0 ^ a1 * b3 ^ a2 * b2 ^ a3 * b1, 0);
	product |= EVERY_FOURTH(a0 * b1 ^ a1 * b0 ^ a2 * b3 ^ a3 * b2, 1);
	product |= EVERY_FOURTH(a0 * b2 ^ a1 * b1 ^ a2 * b0 ^ a3 * b3, 2);
	product |= EVERY_FOURTH(a0 * b3 ^ a1 * b2 ^ a2 * b1 ^ a3 * b0, 3);
	return product;
}

/* The bits in the opposite order. */
INLINE __u64 reversed(__u64 x)
{
	x = (x & 0x5555555555555555ULL) << 1 | (x >> 1 & 0x5555555555555555ULL);
	x = (x & 0x3333333333333333ULL) << 2 | (x >> 2 & 0x3333333333333333ULL);
	x = (x & 0x0f0f0f0f0f0f0f0fULL) << 4 | (x >> 4 & 0x0f0f0f0f0f0f0f0fULL);
	return __builtin_bswap64(x);
}

/* The high half of the product of two polynomials whose bits are in the opposite order. */
#define CARRYLESS_HIGH(a, b) (reversed(carryless(a, b)) >> 1)

/* Adds a block, its first and its second half, to the hash, and multiplies by the key. The first bit of a block is the
 * lowest power, so halves are numbers with their bits in the opposite order, and products are one bit too low. */
SEPARATE int hash_block(struct work *work, const struct direction *keys, __u64 first, __u64 second)
{
	if (!work || !keys)
		return -1;
	const __u64 *key = keys->hash_key;
	__u64 high = work->sum[0] ^ first, low = work->sum[1] ^ second;
	__u64 high_reversed = reversed(high), low_reversed = reversed(low);
	/* Halves apart, and their sum for what is in the middle (Karatsuba). */
	__u64 p0 = carryless(low, key[1]), p2 = carryless(high, key[0]);
	__u64 q0 = CARRYLESS_HIGH(low_reversed, key[3]), q2 = CARRYLESS_HIGH(high_reversed, key[2]);
	__u64 p1 = carryless(low ^ high, key[0] ^ key[1]) ^ p0 ^ p2;
	__u64 q1 = CARRYLESS_HIGH(low_reversed ^ high_reversed, key[2] ^ key[3]) ^ q0 ^ q2;
	__u64 v0 = p0, v1 = q0 ^ p1, v2 = p2 ^ q1, v3 = q2;
	v3 = v3 << 1 | v2 >> 63;
	v2 = v2 << 1 | v1 >> 63;
	v1 = v1 << 1 | v0 >> 63;
	v0 <<= 1;
	/* Modulo x^128 + x^7 + x^2 + x + 1. */
	v1 ^= v0 << 63 ^ v0 << 62 ^ v0 << 57;
	v2 ^= v0 ^ v0 >> 1 ^ v0 >> 2 ^ v0 >> 7;
	v2 ^= v1 << 63 ^ v1 << 62 ^ v1 << 57;
	v3 ^= v1 ^ v1 >> 1 ^ v1 >> 2 ^ v1 >> 7;
	work->sum[0] = v3;
	work->sum[1] = v2;
	return 0;
}

/* A word of the packet, zero from `left` bytes on. */
INLINE __u64 word_up_to(__be32 word, __s32 left)
{
	if (left <= 0)
		return 0;
	__u32 number = from_be32(word);
	return left < 4 ? number & ~0U << 8 * (4 - left) : number;
}

/* Hashes a block of the packet at `at`, a multiple of 4, of which so many bytes count, and zeros behind them. */
SEPARATE int hash_next(struct work *work, const struct direction *keys, __u32 at, __s32 left)
{
	if (!work || !keys)
		return -1;
	const __be32 *words = (const __be32 *)(work->packet + (at & (PACKET_BYTES - 4)));
	__u64 first, second;
	if (left >= GCM_BLOCK_BYTES) {
		first = (__u64)from_be32(words[0]) << 32 | from_be32(words[1]);
		second = (__u64)from_be32(words[2]) << 32 | from_be32(words[3]);
	} else {
		first = word_up_to(words[0], left) << 32 | word_up_to(words[1], left - 4);
		second = word_up_to(words[2], left - 8) << 32 | word_up_to(words[3], left - 12);
	}
	return hash_block(work, keys, first, second);
}

/* A part of a packet that is hashed block by block. */
struct hashing {
	struct work *work;
	const struct direction *keys;
	__u32 at;
	__u32 bytes;
};

static long hash_next_block(__u32 count, struct hashing *part)
{
	__u32 before = GCM_BLOCK_BYTES * count;
	hash_next(part->work, part->keys, part->at + before, part->bytes - before);
	return 0;
}

/* Hashes so many bytes from `at` on, a multiple of 4, and zeros up to a whole block. */
SEPARATE int hash_part(struct work *work, const struct direction *keys, __u32 at, __u32 bytes)
{
	if (!work || !keys)
		return -1;
	bytes &= PACKET_BYTES - 1;
	struct hashing part = { .work = work, .keys = keys, .at = at, .bytes = bytes };
	return bpf_loop((bytes + GCM_BLOCK_BYTES - 1) / GCM_BLOCK_BYTES, hash_next_block, &part, 0) < 0 ? -1 : 0;
}

/* The tag of the packet, whose payload is encrypted, into work->hash. The header is what is authenticated besides. */
SEPARATE int gcm_tag(struct work *work, const struct direction *keys)
{
	if (!work || !keys)
		return -1;
	__u32 header_bytes = work->header_bytes, payload_bytes = work->bytes - header_bytes;
	work->sum[0] = 0;
	work->sum[1] = 0;
	if (hash_part(work, keys, 0, header_bytes) || hash_part(work, keys, header_bytes, payload_bytes) ||
	    hash_block(work, keys, (__u64)header_bytes * 8, (__u64)payload_bytes * 8))
		return -1;
	set_gcm_block(work, keys);
	work->block[3] = 1;
	if (aes_block(work, &keys->cipher_keys, keys->rounds))
		return -1;
	work->hash[0] = work->stream[0] ^ (__u32)(work->sum[0] >> 32);
	work->hash[1] = work->stream[1] ^ (__u32)work->sum[0];
	work->hash[2] = work->stream[2] ^ (__u32)(work->sum[1] >> 32);
	work->hash[3] = work->stream[3] ^ (__u32)work->sum[1];
	return 0;
}
