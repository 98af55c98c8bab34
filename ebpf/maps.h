/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* The maps, by the names under which the daemon finds them. */
#pragma once

#include "kernel.h"
#include "layout.h"

/* What leads to the flows of a local port, see front_of(). The daemon writes this one and the next through mmap. */
struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_ARRAY);
	ATTRIBUTE(max_entries, MOST_FLOWS);
	ATTRIBUTE(map_flags, BPF_F_MMAPABLE);
	TYPE(key, __u32);
	TYPE(value, __u64);
} fronts SECTION(".maps");

/* Set by the loader: the number of elements of the map fronts, a power of two, less one. */
const volatile __u32 front_mask = MOST_FLOWS - 1;

/* The element of the map fronts for a local port. Ports of RTP are even, mostly, and those of an address stand side by
 * side: many of them share a line of the processor's cache. */
INLINE __u32 front_of(const struct endpoint *local)
{
	__u32 of_address = (from_be32(local->address[3]) * 0x9e3779b1U) >> 12;
	return (of_address + (from_be16(local->port) >> 1)) & front_mask;
}

struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_ARRAY);
	ATTRIBUTE(max_entries, MOST_FLOWS);
	ATTRIBUTE(map_flags, BPF_F_MMAPABLE);
	TYPE(key, __u32);
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

/* Programs that others go on to, by number. */
#define PROGRAM_SRTP 0
#define PROGRAMS 1

struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_PROG_ARRAY);
	ATTRIBUTE(max_entries, PROGRAMS);
	ATTRIBUTE(key_size, sizeof(__u32));
	ATTRIBUTE(value_size, sizeof(__u32));
} programs SECTION(".maps");

/* Flows of SRTP have an element in each of these, by the index of their stream; others take no memory. */
struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_HASH);
	ATTRIBUTE(max_entries, MOST_FLOWS);
	ATTRIBUTE(map_flags, BPF_F_NO_PREALLOC);
	TYPE(key, __u32);
	TYPE(value, struct keys);
} keys_of SECTION(".maps");

struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_HASH);
	ATTRIBUTE(max_entries, MOST_FLOWS);
	ATTRIBUTE(map_flags, BPF_F_NO_PREALLOC);
	TYPE(key, __u32);
	TYPE(value, struct order);
} orders SECTION(".maps");

/* The daemon fills it when it loads the programs. */
struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_ARRAY);
	ATTRIBUTE(max_entries, 1);
	TYPE(key, __u32);
	TYPE(value, struct tables);
} tables SECTION(".maps");

/* Interfaces that packets leave by, by number. All have the program that makes copies: the kernel runs the first
 * packet's program on all that leave together. */
struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_DEVMAP_HASH);
	ATTRIBUTE(max_entries, MOST_DEVICES);
	ATTRIBUTE(key_size, sizeof(__u32));
	ATTRIBUTE(value_size, sizeof(struct bpf_devmap_val));
} devices SECTION(".maps");

/* The same without that program, as long as fanning is zero. */
struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_DEVMAP_HASH);
	ATTRIBUTE(max_entries, MOST_DEVICES);
	ATTRIBUTE(key_size, sizeof(__u32));
	ATTRIBUTE(value_size, sizeof(struct bpf_devmap_val));
} singles SECTION(".maps");

/* One number: not zero, as soon as packets may go to several receivers. */
struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_ARRAY);
	ATTRIBUTE(max_entries, 1);
	TYPE(key, __u32);
	TYPE(value, __u32);
} fanning SECTION(".maps");

/* One list of interfaces; what all lists look like. */
struct device_list {
	ATTRIBUTE(type, BPF_MAP_TYPE_DEVMAP);
	ATTRIBUTE(max_entries, 1);
	ATTRIBUTE(key_size, sizeof(__u32));
	ATTRIBUTE(value_size, sizeof(struct bpf_devmap_val));
} no_devices SECTION(".maps");

/* Lists with an entry for each copy. The daemon makes one when the first group needs it. */
struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	ATTRIBUTE(max_entries, MOST_DEVICE_LISTS);
	ATTRIBUTE(key_size, sizeof(__u32));
	ATTRIBUTE(value_size, sizeof(__u32));
	struct device_list *values[];
} device_lists SECTION(".maps");

struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_HASH);
	ATTRIBUTE(max_entries, MOST_FLOWS);
	ATTRIBUTE(map_flags, BPF_F_NO_PREALLOC);
	TYPE(key, __u32);
	TYPE(value, struct group);
} groups SECTION(".maps");

/* The daemon writes and reads this one through mmap. */
struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_ARRAY);
	ATTRIBUTE(max_entries, MOST_FLOWS);
	ATTRIBUTE(map_flags, BPF_F_MMAPABLE);
	TYPE(key, __u32);
	TYPE(value, struct copy);
} copies SECTION(".maps");

/* The daemon's lines, and which of them an interface has, by its number. */
struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_XSKMAP);
	ATTRIBUTE(max_entries, MOST_LINES);
	ATTRIBUTE(key_size, sizeof(__u32));
	ATTRIBUTE(value_size, sizeof(__u32));
} lines SECTION(".maps");

struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_HASH);
	ATTRIBUTE(max_entries, MOST_DEVICES);
	ATTRIBUTE(map_flags, BPF_F_NO_PREALLOC);
	TYPE(key, __u32);
	TYPE(value, struct interface_lines);
} lines_of SECTION(".maps");
