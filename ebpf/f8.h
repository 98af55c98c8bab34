/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* AES in f8 mode (RFC 3711, section 4.1.2). */
#pragma once

#include "aes.h"
#include "kernel.h"
#include "layout.h"
#include "work.h"

/* Combines the next block of the packet with the next one of the keystream. */
static long f8_block(__u32 count, struct keystream *next)
{
	struct work *work = next->work;
#pragma unroll
	for (int word = 0; word < 4; word++)
		work->block[word] = work->schedule[word] ^ work->stream[word];
	work->block[3] ^= count;
	next->problem |= aes_block(work, &next->keys->cipher_keys, next->keys->rounds);
	combine(work, next->at + 16 * count);
	return 0;
}

/* Combines the packet behind its header with the keystream. What follows in the last block is changed too. */
SEPARATE int f8_mode(struct work *work, const struct direction *keys)
{
	if (!work || !keys)
		return -1;
	const __be32 *header = (const __be32 *)work->packet;
	work->block[0] = from_be32(header[0]) & 0x00ffffff;
	work->block[1] = from_be32(header[1]);
	work->block[2] = from_be32(header[2]);
	work->block[3] = (__u32)(work->index >> 16);
	if (aes_block(work, &keys->masked_keys, 10))
		return -1;
	/* Nothing is hashed meanwhile. */
	__u32 *start = work->schedule;
#pragma unroll
	for (int word = 0; word < 4; word++) {
		start[word] = work->stream[word];
		work->stream[word] = 0;
	}
	struct keystream next = { .work = work, .keys = keys, .at = work->header_bytes & ~3U };
	return bpf_loop(blocks_behind_header(work), f8_block, &next, 0) < 0 ? -1 : next.problem;
}
