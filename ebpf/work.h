/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* Where a packet is while it is opened or protected: out of the frame, as the verifier follows no pointer into a frame
 * for so long. Each processor has one. */
#pragma once

#include "kernel.h"
#include "layout.h"

/* A power of two, for places that the verifier can bound with a mask. */
#define PACKET_BYTES 2048
/* The outer block of HMAC stands where no packet reaches. */
#define OUTER_BLOCK (PACKET_BYTES - 64)
/* The longest packet: the padding of HMAC stands between it and the outer block. */
#define LONGEST_PACKET 1900

struct work {
	__u8 packet[PACKET_BYTES + 128];
	__u32 schedule[16];
	__u32 hash[5];
	__u32 block[4];
	__u32 stream[4];
	__u32 tag[4]; /* as it came */
	__u32 bytes; /* of the packet, without its tag */
	__u32 header_bytes;
	__u32 ssrc;
	__u32 sequence;
	__u32 verdict; /* on its way from where it is found to where it is acted upon, see settle() */
	__u32 interface; /* that the packet leaves by; 0: nobody is to hear it, or it goes to several */
	__u64 index;
	__u64 sum[2]; /* the hash of GCM, both halves */
};

struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	ATTRIBUTE(max_entries, 1);
	TYPE(key, __u32);
	TYPE(value, struct work);
} works SECTION(".maps");
