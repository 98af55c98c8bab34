/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/*
 * What rx does, as a classifier behind the driver: where a device has no native XDP, or the one on the way out sends no
 * frames of XDP programs. Plain RTP alone, without a change of the headers' length.
 *
 * A frame here belongs to the kernel, which may have left its checksum to a device further on, or know the sum of its bytes.
 * So it is only changed by helpers that keep both right.
 */
#include <linux/pkt_cls.h>

#include "accept.h"

/* The longest headers up to that of RTP. */
#define READ_BYTES (sizeof(struct ethhdr) + sizeof(struct ipv6hdr) + sizeof(struct udphdr) + RTP_BYTES)
#define NETWORK_AT sizeof(struct ethhdr)

/* Other classifiers have their turn. */
#define GO_ON TC_ACT_UNSPEC

INLINE int refuse_tc(__u32 verdict)
{
	return end_with(verdict, verdict == VERDICT_WRONG_SOURCE ? TC_ACT_SHOT : GO_ON);
}

/* Brings the checksum up to date with new addresses and ports. */
INLINE long change_checksum(struct __sk_buff *context, const struct datagram *from, const struct way *way, __u32 udp_at)
{
	__u32 at = udp_at + __builtin_offsetof(struct udphdr, check);
	__s64 sum = bpf_csum_diff((__be32 *)from->source.address, 16, (__be32 *)way->local.address, 16, 0);
	sum = bpf_csum_diff((__be32 *)from->destination.address, 16, (__be32 *)way->destination.address, 16, (__u32)sum);
	/* One that is 0 stays so: there is none. */
	if (bpf_l4_csum_replace(context, at, 0, (__u32)sum, BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0))
		return -1;
	if (bpf_l4_csum_replace(context, at, from->source.port, way->local.port, BPF_F_MARK_MANGLED_0 | 2))
		return -1;
	return bpf_l4_csum_replace(context, at, from->destination.port, way->destination.port, BPF_F_MARK_MANGLED_0 | 2);
}

/* Writes the header of IP, with its share of the sum that the kernel may know. */
INLINE long change_network(struct __sk_buff *context, const struct way *way, __u32 is_ip4, __u32 udp_bytes, __u16 id)
{
	if (is_ip4) {
		struct iphdr ip = {};
		write_ip4(&ip, way, udp_bytes, id);
		return bpf_skb_store_bytes(context, NETWORK_AT, &ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM);
	}
	struct ipv6hdr ip = {};
	write_ip6(&ip, way, udp_bytes);
	return bpf_skb_store_bytes(context, NETWORK_AT, &ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM);
}

/* 0, or VERDICT_PASSED_*, where the frame is as it was. */
INLINE __u32 rewrite_tc(struct __sk_buff *context, const struct datagram *from, const struct way *way,
			const struct next_hop *hop, __u16 id)
{
	__u32 is_ip4 = is_mapped(&way->destination);
	__u32 udp_bytes = from->payload_bytes + sizeof(struct udphdr);
	if (from->is_ip4 != is_ip4 || hop->vlan)
		return VERDICT_PASSED_NO_ROOM;
	if (ip_bytes_of(way) + udp_bytes > hop->mtu)
		return VERDICT_PASSED_TOO_LONG;
	if (!is_ip4 && !from->checksum)
		return VERDICT_PASSED_NO_CHECKSUM;
	__u32 udp_at = NETWORK_AT + ip_bytes_of(way);
	/* Who has the frame besides, keeps the old one; that fails for want of memory, before anything is changed. */
	if (change_checksum(context, from, way, udp_at))
		return VERDICT_PASSED_NO_ROOM;
	__be16 ports[2] = { way->local.port, way->destination.port };
	__u8 stations[12];
	__builtin_memcpy(stations, hop->destination, 6);
	__builtin_memcpy(stations + 6, hop->source, 6);
	change_network(context, way, is_ip4, udp_bytes, id);
	bpf_skb_store_bytes(context, udp_at, ports, sizeof(ports), BPF_F_INVALIDATE_HASH);
	bpf_skb_store_bytes(context, 0, stations, sizeof(stations), 0);
	return 0;
}

INLINE int is_for(const struct __sk_buff *context, const struct flow *flow)
{
	__u32 here = context->ifindex == LOOPBACK ? FLOW_IS_AT_LOOPBACK : 0;
	return flow->flags & FLOW_IS_FOR_TC && (flow->flags & FLOW_IS_AT_LOOPBACK) == here;
}

SECTION("classifier")
int rx_tc(struct __sk_buff *context)
{
	/* With a tag of a VLAN, or several in one: not what entries are for. */
	if (context->vlan_present || context->gso_size)
		return GO_ON;
	__u32 bytes = context->len;
	if ((void *)(long)context->data + READ_BYTES > (void *)(long)context->data_end &&
	    bpf_skb_pull_data(context, bytes < READ_BYTES ? bytes : READ_BYTES))
		return GO_ON;
	void *data = (void *)(long)context->data;
	void *end = (void *)(long)context->data_end;
	struct arrival arrival = {};
	if (parse_frame(data, end, bytes, &arrival.datagram) || look_up(&arrival) || !is_for(context, arrival.flow))
		return GO_ON;
	__u32 verdict = accept_within(data, end, &arrival);
	if (verdict)
		return refuse_tc(verdict);
	if (!goes_on(arrival.stream, arrival.sequence))
		return refuse_tc(VERDICT_PASSED_JUMP);
	struct next_hop *hop;
	verdict = find_hop(arrival.flow, &hop);
	if (verdict)
		return refuse_tc(verdict);
	int drops = arrival.flow->flags & FLOW_DROPS || !hop;
	if (!drops)
		verdict = rewrite_tc(context, &arrival.datagram, &arrival.flow->way, hop, (__u16)arrival.stream->packets);
	if (verdict)
		return refuse_tc(verdict);
	count(&arrival);
	if (drops)
		return end_with(VERDICT_BLOCKED, TC_ACT_SHOT);
	/* To this host: the frame is where it should be, with the route that its sender found, which a redirection would take. */
	if (hop->interface == LOOPBACK)
		return end_with(VERDICT_FORWARDED, GO_ON);
	end_with(VERDICT_FORWARDED, TC_ACT_REDIRECT);
	return bpf_redirect(hop->interface, 0);
}
