/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/*
 * Runs on every frame that leaves by redirection, just before its device takes it. A clone of a packet for several
 * becomes the copy of its receiver here; all other frames are what they have to be.
 *
 * All clones of a packet are alike, and the kernel runs one and the same program on them. So each finds its number by
 * counting: clones leave a processor by one interface in the order of the list of devices.
 */
#include "fan.h"
#include "protect.h"

/* How many clones of which packet have left by an interface. */
struct turn {
	__u32 packet;
	__u32 clones;
};

/* By interface. The daemon makes no lists with interfaces that fall upon each other here. */
struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	ATTRIBUTE(max_entries, MOST_DEVICES);
	TYPE(key, __u32);
	TYPE(value, struct turn);
} turns SECTION(".maps");

/* The number of this clone among those of its packet that leave by an interface. */
INLINE __u32 take_turn(__u32 interface, __u32 packet)
{
	__u32 index = interface & (MOST_DEVICES - 1);
	struct turn *turn = bpf_map_lookup_elem(&turns, &index);
	if (!turn)
		return 0;
	if (turn->packet != packet) {
		turn->packet = packet;
		turn->clones = 0;
	}
	return turn->clones++;
}

/* The number of the copy that a clone is to become; MOST_COPIES: of none. */
INLINE __u32 number_of(const struct group *group, const struct crossing *crossing, __u32 interface)
{
	__u32 number = MOST_COPIES, turn = take_turn(interface, crossing->packet);
#pragma unroll
	for (int index = 0; index < MOST_RUNS; index++) {
		if (group->runs[index].interface == interface)
			number = group->runs[index].first + turn;
	}
	return number;
}

/* Makes a plain copy; how long its payload is, 0 if it can't be made. */
INLINE __u32 make_plain(struct xdp_md *context, const struct crossing *crossing, const struct way *way,
			const struct next_hop *hop)
{
	__u32 udp_bytes = crossing->payload_bytes + sizeof(struct udphdr);
	if (ip_bytes_of(way) + udp_bytes > hop->mtu)
		return 0;
	struct rtp_header *rtp = (void *)(long)context->data + (crossing->header_bytes & 127);
	if ((void *)(rtp + 1) > (void *)(long)context->data_end)
		return 0;
	__u64 sum = crossing->sum;
	if (way->renumbers) {
		sum += change_of(rtp, way, crossing->place);
		renumber(rtp, way, crossing->place);
	}
	struct headers headers = {
		.delta = (int)crossing->header_bytes - (int)header_bytes_of(way, hop),
		.udp_bytes = udp_bytes,
		.id = crossing->id,
		.checksum = whole_checksum(sum, way, udp_bytes),
	};
	if (write_headers(context, way, hop, &headers))
		return 0;
	return crossing->payload_bytes;
}

/* Makes a copy that is protected or silenced, likewise. */
INLINE __u32 make_srtp(struct xdp_md *context, const struct crossing *crossing, struct copy *copy, __u32 place,
		       const struct next_hop *hop)
{
	const struct way *way = &copy->way;
	__u32 zero = 0, index = place | COPY_KEYS;
	struct work *work = bpf_map_lookup_elem(&works, &zero);
	struct order *order = bpf_map_lookup_elem(&orders, &index);
	struct keys *keys = bpf_map_lookup_elem(&keys_of, &index);
	if (!work || !order || !keys)
		return 0;
	if (load(context, crossing->header_bytes & 127, crossing->payload_bytes, work) || measure(work))
		return 0;
	__u32 grows = keys->protect.tag_bytes + keys->insert_bytes;
	if (ip_bytes_of(way) + sizeof(struct udphdr) + work->bytes + grows > hop->mtu)
		return 0;
	renumber_work(work, way, crossing->place);
	if (keys->insert_bytes && insert(context, crossing->header_bytes & 127, work, insertion_of(keys), 0))
		return 0;
	__u32 kind = silence_of(way, crossing->place);
	if (kind && silence(work, kind))
		return 0;
	work->sequence = from_be16(((struct rtp_header *)work->packet)->sequence);
	__u32 problem = 0;
	if (copy->flags & COPY_PASSES) {
		work->index = (__u64)crossing->rollover << 16 | work->sequence;
		problem = protect_packet(work, &keys->protect);
	} else if (keys->steps & STEP_PROTECTS) {
		problem = protect_next(work, &keys->protect, &order->protected);
	}
	if (problem == VERDICT_REPLAYED)
		copy->used_index++;
	if (problem || write(context, way, hop, crossing->id, work))
		return 0;
	return work->bytes;
}

/* Makes of a clone the copy of its receiver. */
INLINE int send_copy(struct xdp_md *context, const struct crossing *crossing, __u32 place, __u32 interface)
{
	struct copy *copy = bpf_map_lookup_elem(&copies, &place);
	if (!copy)
		return end_with(VERDICT_LOST_COPY, XDP_DROP);
	fetch_lines(copy, sizeof(*copy));
	if (copy->way.payload_types[crossing->place & (MOST_PAYLOAD_TYPES - 1)] == NO_PLACE)
		return XDP_DROP;
	__u32 index = copy->way.next_hop;
	struct next_hop *hop = bpf_map_lookup_elem(&next_hops, &index);
	if (!hop || hop->interface != interface)
		return end_with(VERDICT_LOST_COPY, XDP_DROP);
	/* Nobody behind this device is to see it. */
	if (bpf_xdp_adjust_meta(context, sizeof(struct crossing)))
		return end_with(VERDICT_LOST_COPY, XDP_DROP);
	__u32 bytes = copy->flags & COPY_IS_SRTP ? make_srtp(context, crossing, copy, place, hop)
						 : make_plain(context, crossing, &copy->way, hop);
	if (!bytes)
		return end_with(VERDICT_LOST_COPY, XDP_DROP);
	copy->packets++;
	copy->bytes += bytes;
	return XDP_PASS;
}

SECTION("xdp/devmap")
int egress(struct xdp_md *context)
{
	struct crossing *in_front = (void *)(long)context->data_meta;
	if ((void *)(in_front + 1) > (void *)(long)context->data || in_front->mark != MARK)
		return XDP_PASS;
	struct crossing crossing = *in_front;
	__u32 interface = context->egress_ifindex;
	struct group *group = bpf_map_lookup_elem(&groups, &crossing.group);
	if (!group)
		return end_with(VERDICT_LOST_COPY, XDP_DROP);
	__u32 number = number_of(group, &crossing, interface);
	int action = number < MOST_COPIES ? send_copy(context, &crossing, group->list[number & (MOST_COPIES - 1)], interface)
					  : end_with(VERDICT_LOST_COPY, XDP_DROP);
	if (group->flags & GROUP_IS_SRTP)
		__sync_fetch_and_add(&group->users, -1);
	return action;
}
