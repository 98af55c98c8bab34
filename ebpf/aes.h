/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* AES (FIPS 197) by tables, and its keystream in counter mode (RFC 3711, section 4.1.1; RFC 7714, section 8). Not in
 * constant time: the places of the tables that are read, and so the processor's cache, depend on the key. */
#pragma once

#include "kernel.h"
#include "maps.h"
#include "work.h"

/* One column of a round. */
#define COLUMN(a, b, c, d)                                                                                       \
	(table->words[0][(a) >> 24] ^ table->words[1][(b) >> 16 & 0xff] ^ table->words[2][(c) >> 8 & 0xff] ^ \
	 table->words[3][(d) & 0xff])

/* One column of the last round: tables 2, 3, 0 and 1 hold the bare S-box in the byte that is wanted. */
#define LAST_COLUMN(a, b, c, d)                                                                            \
	((table->words[2][(a) >> 24] & 0xff000000) ^ (table->words[3][(b) >> 16 & 0xff] & 0x00ff0000) ^    \
	 (table->words[0][(c) >> 8 & 0xff] & 0x0000ff00) ^ (table->words[1][(d) & 0xff] & 0x000000ff))

/* Encrypts work->block into work->stream. */
SEPARATE int aes_block(struct work *work, const struct schedule *keys, __u32 rounds)
{
	__u32 zero = 0;
	const struct tables *table = bpf_map_lookup_elem(&tables, &zero);
	if (!work || !keys || !table)
		return -1;
	const __u32 *round_key = keys->words;
	__u32 a = work->block[0] ^ round_key[0], b = work->block[1] ^ round_key[1];
	__u32 c = work->block[2] ^ round_key[2], d = work->block[3] ^ round_key[3];
	__u32 round;
	for (round = 1; round < 14; round++) {
		if (round >= rounds)
			break;
		round_key = keys->words + 4 * round;
		__u32 next_a = COLUMN(a, b, c, d) ^ round_key[0];
		__u32 next_b = COLUMN(b, c, d, a) ^ round_key[1];
		__u32 next_c = COLUMN(c, d, a, b) ^ round_key[2];
		__u32 next_d = COLUMN(d, a, b, c) ^ round_key[3];
		a = next_a;
		b = next_b;
		c = next_c;
		d = next_d;
	}
	round_key = keys->words + 4 * round;
	work->stream[0] = LAST_COLUMN(a, b, c, d) ^ round_key[0];
	work->stream[1] = LAST_COLUMN(b, c, d, a) ^ round_key[1];
	work->stream[2] = LAST_COLUMN(c, d, a, b) ^ round_key[2];
	work->stream[3] = LAST_COLUMN(d, a, b, c) ^ round_key[3];
	return 0;
}

/* Combines the block of the packet at a multiple of 4 with work->stream. */
INLINE void combine(struct work *work, __u32 at)
{
	__u32 *words = (__u32 *)(work->packet + (at & (PACKET_BYTES - 4)));
	words[0] ^= to_be32(work->stream[0]);
	words[1] ^= to_be32(work->stream[1]);
	words[2] ^= to_be32(work->stream[2]);
	words[3] ^= to_be32(work->stream[3]);
}

/* All but the counter of a block of GCM. */
INLINE void set_gcm_block(struct work *work, const struct direction *keys)
{
	__u64 index = work->index;
	work->block[0] = keys->salt[0] ^ work->ssrc >> 16;
	work->block[1] = keys->salt[1] ^ work->ssrc << 16 ^ (__u32)(index >> 32);
	work->block[2] = keys->salt[2] ^ (__u32)index;
}

/* Sets the block that the keystream begins with, and returns its last word, to which numbers of blocks are added. */
INLINE __u32 begin_keystream(struct work *work, const struct direction *keys)
{
	__u64 index = work->index;
	if (keys->cipher == CIPHER_GCM) {
		set_gcm_block(work, keys);
		return 2;
	}
	work->block[0] = keys->salt[0];
	work->block[1] = keys->salt[1] ^ work->ssrc;
	work->block[2] = keys->salt[2] ^ (__u32)(index >> 16);
	return keys->salt[3] ^ (__u32)index << 16;
}

/* Combines the block of the packet at `at` with that of the keystream whose last word this is. */
SEPARATE int counter_block(struct work *work, const struct direction *keys, __u32 at, __u32 word)
{
	if (!work || !keys)
		return -1;
	work->block[3] = word;
	if (aes_block(work, &keys->cipher_keys, keys->rounds))
		return -1;
	combine(work, at);
	return 0;
}

/* Combines the packet behind its header with the keystream. What follows in the last block is changed too. */
SEPARATE int counter_mode(struct work *work, const struct direction *keys)
{
	if (!work || !keys)
		return -1;
	__u32 at = work->header_bytes & ~3U;
	__u32 bytes = work->bytes;
	__u32 start = begin_keystream(work, keys);
	for (__u32 count = 0; count < PACKET_BYTES / 16; count++) {
		if (at >= bytes)
			break;
		if (counter_block(work, keys, at, start + count))
			return -1;
		at += 16;
	}
	return 0;
}
