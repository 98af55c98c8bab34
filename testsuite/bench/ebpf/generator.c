/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* A sender and a receiver that cost next to nothing: frames that the kernel is given become RTP of many flows. */
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>

#include "../../../ebpf/kernel.h"

#define MOST_FLOWS 65536

struct rtp {
	__u8 first;
	__u8 second;
	__be16 sequence;
	__be32 timestamp;
	__be32 ssrc;
};

/* Ports in network byte order; a destination of 0 is a flow that is silent now. */
struct flow {
	__be16 source;
	__be16 destination;
	__u32 sent;
	__u32 mark; /* the SSRC: in its low half the port at which packets are to arrive */
};

struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_ARRAY);
	ATTRIBUTE(max_entries, MOST_FLOWS);
	TYPE(key, __u32);
	TYPE(value, struct flow);
} targets SECTION(".maps");

/* Ethernet, IPv4 and UDP, as they were: a frame that comes back has been rewritten on its way. */
struct headers {
	__u8 bytes[44];
};

struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_ARRAY);
	ATTRIBUTE(max_entries, 1);
	TYPE(key, __u32);
	TYPE(value, struct headers);
} template SECTION(".maps");

/* How many flows there are, whose turn it is, and the interface that frames leave by; how many packets are in stock, how
 * many of them were sent, and how long they are. */
struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_ARRAY);
	ATTRIBUTE(max_entries, 6);
	TYPE(key, __u32);
	TYPE(value, __u32);
} turns SECTION(".maps");

#define STOCK_BYTES 1232

/* Packets that were made before: SRTP, each sent once. */
struct packet {
	__u8 bytes[STOCK_BYTES];
};

struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_ARRAY);
	ATTRIBUTE(max_entries, 1);
	TYPE(key, __u32);
	TYPE(value, struct packet);
} stock SECTION(".maps");

/* All that arrived; what arrived elsewhere than its mark says; and what flows that are silent have not sent. */
struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	ATTRIBUTE(max_entries, 3);
	TYPE(key, __u32);
	TYPE(value, __u64);
} counts SECTION(".maps");

#define ARRIVED 0
#define ASTRAY 1
#define UNSENT 2

INLINE void note(__u32 which)
{
	__u64 *value = bpf_map_lookup_elem(&counts, &which);
	if (value)
		*value += 1;
}

/* Puts the next packet of the stock into the frame. Without a stock, it is as it is. */
INLINE int take_from_stock(struct xdp_md *context)
{
	__u32 three = 3, four = 4, five = 5;
	__u32 *count = bpf_map_lookup_elem(&turns, &three);
	__u32 *next = bpf_map_lookup_elem(&turns, &four);
	__u32 *length = bpf_map_lookup_elem(&turns, &five);
	if (!count || !next || !length)
		return -1;
	if (!*count)
		return 0;
	__u32 index = *next, bytes = *length;
	struct packet *packet = bpf_map_lookup_elem(&stock, &index);
	if (index >= *count || !packet || bytes < sizeof(struct rtp) || bytes > STOCK_BYTES)
		return -1;
	*next = index + 1;
	return bpf_xdp_store_bytes(context, sizeof(struct ethhdr) + sizeof(struct iphdr) + sizeof(struct udphdr),
				   packet->bytes, bytes);
}

SECTION("xdp")
int generate(struct xdp_md *context)
{
	void *data = (void *)(long)context->data;
	void *end = (void *)(long)context->data_end;
	struct udphdr *udp = data + sizeof(struct ethhdr) + sizeof(struct iphdr);
	struct rtp *rtp = (void *)(udp + 1);
	if ((void *)(rtp + 1) > end)
		return XDP_ABORTED;
	__u32 index = 0, one = 1, two = 2;
	struct headers *headers = bpf_map_lookup_elem(&template, &index);
	__u32 *count = bpf_map_lookup_elem(&turns, &index);
	__u32 *turn = bpf_map_lookup_elem(&turns, &one);
	__u32 *out = bpf_map_lookup_elem(&turns, &two);
	if (!headers || !count || !turn || !out)
		return XDP_ABORTED;
	index = *turn;
	*turn = index + 1 < *count ? index + 1 : 0;
	struct flow *flow = bpf_map_lookup_elem(&targets, &index);
	if (!flow)
		return XDP_ABORTED;
	if (!flow->destination) {
		note(UNSENT);
		return XDP_DROP;
	}
	__builtin_memcpy(data, headers->bytes, 42);
	__u32 sent = flow->sent++;
	udp->source = flow->source;
	udp->dest = flow->destination;
	rtp->sequence = to_be16((__u16)sent);
	rtp->timestamp = to_be32(sent * 160);
	rtp->ssrc = to_be32(flow->mark);
	if (take_from_stock(context))
		return XDP_ABORTED;
	return bpf_redirect(*out, 0);
}

/* Counts what is as long as a packet of the load, and drops everything but ARP and the like. */
SECTION("xdp")
int drop(struct xdp_md *context)
{
	void *data = (void *)(long)context->data;
	void *end = (void *)(long)context->data_end;
	struct ethhdr *ethernet = data;
	struct iphdr *ip = (void *)(ethernet + 1);
	if ((void *)(ip + 1) > end || ethernet->h_proto != to_be16(ETH_P_IP) || ip->protocol != 17)
		return XDP_PASS;
	struct udphdr *udp = (void *)(ip + 1);
	struct rtp *rtp = (void *)(udp + 1);
	note(ARRIVED);
	if ((void *)(rtp + 1) <= end && (__u16)from_be32(rtp->ssrc) != from_be16(udp->dest))
		note(ASTRAY);
	return XDP_DROP;
}

char terms[] SECTION("license") = "Dual MIT/GPL";
