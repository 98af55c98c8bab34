/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* AES in f8 mode (RFC 3711, section 4.1.2). */
#pragma once

#include "aes.h"
#include "kernel.h"
#include "layout.h"
#include "work.h"

/* Combines the block of the packet at `at` with the next one of the keystream, the one of this number. */
SEPARATE int f8_block(struct work *work, const struct direction *keys, __u32 at, __u32 number)
{
	if (!work || !keys)
		return -1;
#pragma unroll
	for (int word = 0; word < 4; word++)
		work->block[word] = work->schedule[word] ^ work->stream[word];
	work->block[3] ^= number;
	if (aes_block(work, &keys->cipher_keys, keys->rounds))
		return -1;
	combine(work, at);
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
	__u32 at = work->header_bytes & ~3U;
	__u32 bytes = work->bytes;
	for (__u32 count = 0; count < PACKET_BYTES / 16; count++) {
		if (at >= bytes)
			break;
		if (f8_block(work, keys, at, count))
			return -1;
		at += 16;
	}
	return 0;
}
