/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* The statistics of one SSRC, as src/rtp/source.rs makes them (RFC 3550, appendices A.1 and A.8). */
#pragma once

#include "kernel.h"
#include "layout.h"

#define MAX_DROPOUT 3000
#define MAX_MISORDER 100
#define WINDOW_PACKETS 64
#define NANOSECONDS 1000000000ULL

INLINE __u32 ones(__u64 bits)
{
	bits -= (bits >> 1) & 0x5555555555555555ULL;
	bits = (bits & 0x3333333333333333ULL) + ((bits >> 2) & 0x3333333333333333ULL);
	bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return (bits * 0x0101010101010101ULL) >> 56;
}

/* Moves the window on; what falls out without having come is lost. */
INLINE void advance(struct stream *stream, __u32 step)
{
	__u64 window = stream->window;
	__u32 missing = WINDOW_PACKETS - ones(window);
	__u32 left = WINDOW_PACKETS - 1;
	if (step < WINDOW_PACKETS) {
		window = window << (step & 63) | 1;
		left = WINDOW_PACKETS - ones(window);
	} else {
		window = 1;
	}
	stream->window = window;
	stream->highest += step;
	stream->lost += missing + step - 1 - left;
	if (step > 1)
		stream->skips++;
}

INLINE void count_older(struct stream *stream, __u32 age)
{
	if (age < WINDOW_PACKETS) {
		__u64 bit = 1ULL << (age & 63);
		__s32 from_base = (__s32)(stream->highest - age - stream->base);
		if (stream->window & bit && from_base >= 0) {
			stream->duplicates++;
			return;
		}
		stream->window |= bit;
	}
	stream->late++;
}

/* Seconds and rest apart, so that nothing overflows. */
INLINE __u32 clock_units(__u64 time_ns, __u32 rate_hz)
{
	__u64 seconds = time_ns / NANOSECONDS;
	__u64 rest = time_ns - seconds * NANOSECONDS;
	return (__u32)(seconds * rate_hz + rest * rate_hz / NANOSECONDS);
}

INLINE void count_time(struct stream *stream, __u64 now_ns, __u32 rate_hz, __u32 timestamp)
{
	__u32 transit = clock_units(now_ns, rate_hz) - timestamp;
	if (stream->has_transit) {
		__s32 signed_difference = (__s32)(transit - stream->transit);
		__u32 difference = signed_difference < 0 ? -signed_difference : signed_difference;
		/* A timestamp that jumps by more than ten seconds is a new beginning, not jitter. */
		if (difference / 10 < rate_hz)
			stream->jitter_16ths += difference - ((stream->jitter_16ths + 8) >> 4);
	}
	stream->transit = transit;
	stream->has_transit = 1;
}

/* Whether the packet goes on from the last ones; if not, nothing is counted. */
INLINE int goes_on(const struct stream *stream, __u16 sequence)
{
	__s32 step = (__s16)(sequence - (__u16)stream->highest);
	return step < MAX_DROPOUT && step > -MAX_MISORDER;
}

/* Counts a packet that goes on. A rate of 0 leaves the jitter alone. */
SEPARATE int count_packet(struct stream *stream, __u32 sequence, __u32 timestamp, __u32 rate_hz, __u32 bytes)
{
	if (!stream)
		return -1;
	__u64 now_ns = bpf_ktime_get_ns();
	__s32 step = (__s16)((__u16)sequence - (__u16)stream->highest);
	stream->packets++;
	stream->bytes += bytes;
	stream->last_arrival_ns = now_ns;
	stream->last_sequence = sequence;
	if (step == 0) {
		stream->duplicates++;
		return 0;
	}
	if (step < 0) {
		count_older(stream, -step);
		return 0;
	}
	if (likely(step == 1 && stream->window >> 63)) {
		stream->highest++;
		stream->window = stream->window << 1 | 1;
	} else {
		advance(stream, step);
	}
	stream->last_timestamp = timestamp;
	if (rate_hz)
		count_time(stream, now_ns, rate_hz, timestamp);
	return 0;
}
