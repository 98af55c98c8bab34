/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* Packet indices (RFC 3711, section 3.3.1 and appendix A), and which of them have been there (section 3.3.2). */
#pragma once

#include "kernel.h"
#include "layout.h"
#include "work.h"

#define MOST_INDICES (1ULL << 48)

/* Sets work->index to the one nearest to the highest. 0, VERDICT_REPLAYED or VERDICT_PASSED_KEY_EXPIRED. */
INLINE __u32 estimate(struct work *work, const struct window *window)
{
	__u64 highest = *(const volatile __u64 *)&window->highest;
	__u64 rollover = highest >> 16;
	__u32 last = highest & 0xffff, sequence = work->sequence;
	if (last < 0x8000) {
		if (sequence > last && sequence - last > 0x8000) {
			if (!rollover)
				return VERDICT_REPLAYED;
			rollover--;
		}
	} else if (last - 0x8000 > sequence) {
		rollover++;
	}
	__u64 index = rollover << 16 | sequence;
	if (index >= MOST_INDICES)
		return VERDICT_PASSED_KEY_EXPIRED;
	work->index = index;
	return 0;
}

/* Whether the packet of work->index may be a new one: 0 or VERDICT_REPLAYED. */
INLINE __u32 check(const struct work *work, const struct window *window)
{
	__u64 index = work->index;
	if (*(const volatile __u64 *)&window->highest >= index + WINDOW_SLOTS)
		return VERDICT_REPLAYED;
	return *(const volatile __u64 *)&window->slots[index & (WINDOW_SLOTS - 1)] > index ? VERDICT_REPLAYED : 0;
}

/* Sets work->index, and tells whether the packet may be a new one: 0 or why not. */
SEPARATE __u32 place_in(struct work *work, const struct window *window)
{
	if (!work || !window)
		return VERDICT_PASSED_NO_KEYS;
	__u32 problem = estimate(work, window);
	return problem ? problem : check(work, window);
}

/* Notes the packet of work->index, unless another processor did so before: 0 or VERDICT_REPLAYED. */
SEPARATE __u32 commit(const struct work *work, struct window *window)
{
	if (!work || !window)
		return VERDICT_PASSED_NO_KEYS;
	__u64 index = work->index;
	__u64 *slot = &window->slots[index & (WINDOW_SLOTS - 1)];
	__u64 present = *(volatile __u64 *)slot;
	if (present > index || __sync_val_compare_and_swap(slot, present, index + 1) != present)
		return VERDICT_REPLAYED;
	/* Few processors: who does not get its turn in these leaves the highest to those who come. */
#pragma unroll
	for (int turn = 0; turn < 4; turn++) {
		__u64 highest = *(volatile __u64 *)&window->highest;
		if (highest >= index || __sync_val_compare_and_swap(&window->highest, highest, index) == highest)
			break;
	}
	return 0;
}
