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
	if (!work || !keys || !table || rounds > 14)
		return -1;
	/* Found before the rounds are counted: so what follows them is alike for the verifier, whatever their number. */
	const __u32 *last_key = keys->words + 4 * rounds;
	barrier_for(last_key);
	const __u32 *round_key = keys->words;
	__u32 a = work->block[0] ^ round_key[0], b = work->block[1] ^ round_key[1];
	__u32 c = work->block[2] ^ round_key[2], d = work->block[3] ^ round_key[3];
	for (__u32 round = 1; round < 14; round++) {
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
	work->stream[0] = LAST_COLUMN(a, b, c, d) ^ last_key[0];
	work->stream[1] = LAST_COLUMN(b, c, d, a) ^ last_key[1];
	work->stream[2] = LAST_COLUMN(c, d, a, b) ^ last_key[2];
	work->stream[3] = LAST_COLUMN(d, a, b, c) ^ last_key[3];
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

/* A keystream on its way over a packet. */
struct keystream {
	struct work *work;
	const struct direction *keys;
	__u32 at;
	__u32 word;
	/* Not zero once a block could not be made: then the packet must not leave. */
	int problem;
};

/* How many blocks there are behind the header, from the word on in which it ends. */
INLINE __u32 blocks_behind_header(const struct work *work)
{
	__u32 at = work->header_bytes & ~3U, bytes = work->bytes;
	return at < bytes ? (bytes - at + 15) / 16 : 0;
}

/* Combines the next block of the packet with that of the keystream. */
static long counter_block(__u32 count, struct keystream *next)
{
	struct work *work = next->work;
	work->block[3] = next->word + count;
	next->problem |= aes_block(work, &next->keys->cipher_keys, next->keys->rounds);
	combine(work, next->at + 16 * count);
	return 0;
}

/* Combines the packet behind its header with the keystream. What follows in the last block is changed too. */
SEPARATE int counter_mode(struct work *work, const struct direction *keys)
{
	if (!work || !keys)
		return -1;
	struct keystream next = { .work = work, .keys = keys, .at = work->header_bytes & ~3U };
	next.word = begin_keystream(work, keys);
	return bpf_loop(blocks_behind_header(work), counter_block, &next, 0) < 0 ? -1 : next.problem;
}
