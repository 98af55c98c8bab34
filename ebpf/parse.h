/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* From a frame to its UDP datagram: Ethernet, at most one VLAN tag, IPv4 without options or IPv6 without extensions. */
#pragma once

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

#include "kernel.h"
#include "layout.h"

#define VLAN_BYTES 4
#define RTP_BYTES 12
#define MAPPED_IP4 to_be32(0x0000ffff)
#define FRAGMENT_MASK to_be16(0x3fff) /* offset, and that more follow */

struct vlan_header {
	__be16 tag;
	__be16 protocol;
};

struct rtp_header {
	__u8 first;
	__u8 second;
	__be16 sequence;
	__be32 timestamp;
	__be32 ssrc;
};

/* What the first bytes of a frame say. */
struct datagram {
	struct endpoint source;
	struct endpoint destination;
	__u32 header_bytes; /* all before the payload */
	__u32 payload_bytes;
	__u16 is_ip4;
	__be16 checksum;
};

INLINE void map_ip4(__be32 to[4], __be32 address)
{
	to[0] = 0;
	to[1] = 0;
	to[2] = MAPPED_IP4;
	to[3] = address;
}

INLINE void copy_ip6(__be32 to[4], const struct in6_addr *address)
{
	to[0] = address->in6_u.u6_addr32[0];
	to[1] = address->in6_u.u6_addr32[1];
	to[2] = address->in6_u.u6_addr32[2];
	to[3] = address->in6_u.u6_addr32[3];
}

INLINE struct udphdr *parse_ip4(struct iphdr *ip, void *end, struct datagram *found)
{
	if ((void *)(ip + 1) > end || ip->ihl != 5 || ip->protocol != IPPROTO_UDP || ip->frag_off & FRAGMENT_MASK)
		return 0;
	map_ip4(found->source.address, ip->saddr);
	map_ip4(found->destination.address, ip->daddr);
	found->is_ip4 = 1;
	return (struct udphdr *)(ip + 1);
}

INLINE struct udphdr *parse_ip6(struct ipv6hdr *ip, void *end, struct datagram *found)
{
	if ((void *)(ip + 1) > end || ip->nexthdr != IPPROTO_UDP)
		return 0;
	copy_ip6(found->source.address, &ip->saddr);
	copy_ip6(found->destination.address, &ip->daddr);
	found->is_ip4 = 0;
	return (struct udphdr *)(ip + 1);
}

/* 0, or -1 for anything that is not a whole UDP datagram. Only the first bytes of a frame, its headers, need be there. */
INLINE int parse_frame(void *data, void *end, __u32 frame_bytes, struct datagram *found)
{
	struct ethhdr *ethernet = data;
	void *network = ethernet + 1;
	if (network > end)
		return -1;
	__be16 protocol = ethernet->h_proto;
	if (protocol == to_be16(ETH_P_8021Q)) {
		struct vlan_header *vlan = network;
		network = vlan + 1;
		if (network > end)
			return -1;
		protocol = vlan->protocol;
	}
	struct udphdr *udp = 0;
	if (protocol == to_be16(ETH_P_IP))
		udp = parse_ip4(network, end, found);
	else if (protocol == to_be16(ETH_P_IPV6))
		udp = parse_ip6(network, end, found);
	if (!udp || (void *)(udp + 1) > end)
		return -1;
	found->source.port = udp->source;
	found->destination.port = udp->dest;
	found->checksum = udp->check;
	found->source.side = 0;
	found->destination.side = 0;
	found->header_bytes = (__u32)((void *)(udp + 1) - data);
	__u32 udp_bytes = from_be16(udp->len);
	/* Ethernet pads short frames; what is cut is none of ours. */
	__u32 there = frame_bytes - (found->header_bytes - sizeof(*udp));
	if (udp_bytes < sizeof(*udp) || udp_bytes > there)
		return -1;
	found->payload_bytes = udp_bytes - sizeof(*udp);
	return 0;
}

SEPARATE int parse(struct xdp_md *context, struct datagram *found)
{
	if (!found)
		return -1;
	void *data = (void *)(long)context->data;
	void *end = (void *)(long)context->data_end;
	return parse_frame(data, end, (__u32)(end - data), found);
}

/* The payload of a datagram, if at least so many bytes of it are there. Its place is derived from the headers' length alone:
 * so the verifier need not look at what follows once for each kind of headers. */
INLINE void *payload_of(void *data, void *end, const struct datagram *datagram, __u32 bytes)
{
	void *payload = data + (datagram->header_bytes & 127);
	return payload + bytes <= end ? payload : 0;
}

INLINE int is_same(const struct endpoint *one, const struct endpoint *other)
{
	return one->port == other->port && one->address[3] == other->address[3] && one->address[2] == other->address[2] &&
	       one->address[1] == other->address[1] && one->address[0] == other->address[0];
}

INLINE int is_mapped(const struct endpoint *endpoint)
{
	return endpoint->address[2] == MAPPED_IP4 && !endpoint->address[1] && !endpoint->address[0];
}
