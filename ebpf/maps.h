/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* The maps, by the names under which the daemon finds them. */
#pragma once

#include "kernel.h"
#include "layout.h"

/* Local ports whose RTP is forwarded here. */
struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_HASH);
	ATTRIBUTE(max_entries, MOST_FLOWS);
	ATTRIBUTE(map_flags, BPF_F_NO_PREALLOC);
	TYPE(key, struct endpoint);
	TYPE(value, struct flow);
} flows SECTION(".maps");

/* The daemon reads and seeds this one through mmap. */
struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_ARRAY);
	ATTRIBUTE(max_entries, MOST_FLOWS);
	ATTRIBUTE(map_flags, BPF_F_MMAPABLE);
	TYPE(key, __u32);
	TYPE(value, struct stream);
} streams SECTION(".maps");

struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_ARRAY);
	ATTRIBUTE(max_entries, MOST_NEXT_HOPS);
	TYPE(key, __u32);
	TYPE(value, struct next_hop);
} next_hops SECTION(".maps");

struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	ATTRIBUTE(max_entries, VERDICTS);
	TYPE(key, __u32);
	TYPE(value, __u64);
} verdicts SECTION(".maps");
