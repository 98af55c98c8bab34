/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* New headers in front of a payload. */
#pragma once

#include "kernel.h"
#include "layout.h"
#include "parse.h"

#define TIME_TO_LIVE 64
#define LONGEST_PAYLOAD 2047

/* Set by the loader where frames may come without a whole checksum: from a local sender that leaves it to the device. */
const volatile __u8 checksums_are_partial = 1;

INLINE __u64 add_address(__u64 sum, const __be32 address[4])
{
	return sum + address[0] + address[1] + address[2] + address[3];
}

/* The sum of the words of a mapped address is that of its IPv4 address and of 0xffff, which is 0. */
INLINE __u64 add_pseudo(__u64 sum, const struct endpoint *source, const struct endpoint *destination)
{
	sum = add_address(sum, source->address);
	return add_address(sum, destination->address);
}

INLINE __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

/* A piece of the payload whose length is a power of two, after all longer ones. Its place comes from the length alone:
 * paths that have added other pieces are one to the verifier. */
#define PIECE(size)                                                     \
	if (length & (size)) {                                          \
		void *piece = payload + (length & ~(2 * (size) - 1));   \
		if (piece + (size) > end)                               \
			return -1;                                      \
		sum = (__u32)bpf_csum_diff(0, 0, piece, size, sum);     \
	}

/* Adds up a payload; -1 when it is too long for that. */
INLINE __s64 sum_of(void *payload, void *end, __u32 length)
{
	if (length > LONGEST_PAYLOAD)
		return -1;
	__u32 sum = 0;
	/* Older kernels take no more than 512 bytes at once. */
	if (length & 1024) {
		if (payload + 1024 > end)
			return -1;
		sum = (__u32)bpf_csum_diff(0, 0, payload, 512, sum);
		sum = (__u32)bpf_csum_diff(0, 0, payload + 512, 512, sum);
	}
	PIECE(512)
	PIECE(256)
	PIECE(128)
	PIECE(64)
	PIECE(32)
	PIECE(16)
	PIECE(8)
	PIECE(4)
	__u64 rest = 0;
	if (length & 2) {
		__be16 *piece = payload + (length & ~3U);
		if ((void *)(piece + 1) > end)
			return -1;
		rest = *piece;
	}
	if (length & 1) {
		__u8 *piece = payload + (length & ~1U);
		if ((void *)(piece + 1) > end)
			return -1;
		rest += to_be16((__u16)(*piece << 8));
	}
	return sum + rest;
}

/* The checksum of a datagram with new addresses and ports, and a payload that adds `change` up to more, from its old one. */
INLINE __be16 updated_checksum(const struct datagram *from, __be16 old, const struct way *way, __u64 change)
{
	const struct endpoint *source = &way->local, *destination = &way->destination;
	__u64 sum = (__u16)~old + change;
	sum = add_pseudo(sum, source, destination) + source->port + destination->port;
	/* In ones' complement arithmetic, subtracting is adding the complement. */
	__u64 gone = add_pseudo(0, &from->source, &from->destination) + from->source.port + from->destination.port;
	__u16 checksum = ~fold(sum + (__u16)~fold(gone));
	return checksum ? checksum : 0xffff;
}

INLINE void write_ip4(struct iphdr *ip, const struct way *way, __u32 udp_bytes, __u16 id)
{
	ip->version = 4;
	ip->ihl = 5;
	ip->tos = way->tos;
	ip->tot_len = to_be16(sizeof(*ip) + udp_bytes);
	ip->id = to_be16(id);
	ip->frag_off = 0;
	ip->ttl = TIME_TO_LIVE;
	ip->protocol = IPPROTO_UDP;
	ip->check = 0;
	ip->saddr = way->local.address[3];
	ip->daddr = way->destination.address[3];
	__u64 sum = 0;
	__be16 *words = (__be16 *)ip;
#pragma unroll
	for (int index = 0; index < 10; index++)
		sum += words[index];
	ip->check = ~fold(sum);
}

INLINE void write_ip6(struct ipv6hdr *ip, const struct way *way, __u32 udp_bytes)
{
	*(__be32 *)ip = to_be32(6U << 28 | (__u32)way->tos << 20);
	ip->payload_len = to_be16(udp_bytes);
	ip->nexthdr = IPPROTO_UDP;
	ip->hop_limit = TIME_TO_LIVE;
	__builtin_memcpy(&ip->saddr, way->local.address, 16);
	__builtin_memcpy(&ip->daddr, way->destination.address, 16);
}

/* The two bytes in front, as a number of the frame's order. */
INLINE __be16 first_bytes(const struct rtp_header *rtp, __u8 payload_type)
{
	return to_be16((__u16)(rtp->first << 8 | (rtp->second & 0x80) | payload_type));
}

/* What the numbers of a receiver add to the sum of a packet that has the sender's. */
INLINE __u64 change_of(const struct rtp_header *rtp, const struct way *way, __u32 place)
{
	__u8 payload_type = way->payload_types[place & (MOST_PAYLOAD_TYPES - 1)];
	__u64 sum = first_bytes(rtp, payload_type) + (__u64)(__u16)~first_bytes(rtp, rtp->second & 0x7f);
	return sum + to_be32(way->ssrc) + (__u32)~rtp->ssrc;
}

/* Gives a packet the numbers of its receiver. */
INLINE void renumber(struct rtp_header *rtp, const struct way *way, __u32 place)
{
	rtp->second = (rtp->second & 0x80) | way->payload_types[place & (MOST_PAYLOAD_TYPES - 1)];
	rtp->ssrc = to_be32(way->ssrc);
}

/* The checksum of a payload that adds up to `sum`, in a datagram of its own. */
SEPARATE __u32 whole_checksum(__u64 sum, const struct way *way, __u32 udp_bytes)
{
	if (!way)
		return 0;
	sum = add_pseudo(sum, &way->local, &way->destination) + way->local.port + way->destination.port;
	sum += (__u64)to_be16(IPPROTO_UDP) + to_be16(udp_bytes) + to_be16(udp_bytes);
	__u16 checksum = ~fold(sum);
	return checksum ? checksum : 0xffff;
}

/* The checksum for the copy in host memory order; VERDICT_PASSED_* in `problem` when there is none to be had. */
INLINE __be16 new_checksum(struct xdp_md *context, const struct datagram *from, const struct way *way, __u64 change,
			   __u32 *problem)
{
	__be16 old = from->checksum;
	if (!checksums_are_partial) {
		if (!old && !is_mapped(&way->destination))
			*problem = VERDICT_PASSED_NO_CHECKSUM;
		return old ? updated_checksum(from, old, way, change) : 0;
	}
	void *end = (void *)(long)context->data_end;
	void *start = payload_of((void *)(long)context->data, end, from, 0);
	__s64 payload = start ? sum_of(start, end, from->payload_bytes) : -1;
	if (payload < 0) {
		*problem = VERDICT_PASSED_TOO_LONG;
		return 0;
	}
	return whole_checksum(payload + change, way, from->payload_bytes + sizeof(struct udphdr));
}

INLINE __u32 ip_bytes_of(const struct way *way)
{
	return is_mapped(&way->destination) ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
}

/* The bytes of all new headers. */
INLINE __u32 header_bytes_of(const struct way *way, const struct next_hop *hop)
{
	return sizeof(struct ethhdr) + (hop->vlan ? VLAN_BYTES : 0) + ip_bytes_of(way) + sizeof(struct udphdr);
}

/* What new headers say besides where they lead. */
struct headers {
	__s32 delta; /* by which the beginning of the frame moves */
	__u32 udp_bytes;
	__u16 id; /* for IPv4 */
	__be16 checksum;
};

/* Moves the beginning of the frame, and writes new headers there. 0, or VERDICT_PASSED_*, where the frame is as it was. */
SEPARATE __u32 write_headers(struct xdp_md *context, const struct way *way, const struct next_hop *hop,
			     const struct headers *headers)
{
	if (!way || !hop || !headers)
		return VERDICT_PASSED_NO_NEIGHBOUR;
	__u32 is_ip4 = is_mapped(&way->destination), udp_bytes = headers->udp_bytes;
	if (headers->delta && bpf_xdp_adjust_head(context, headers->delta))
		return VERDICT_PASSED_NO_ROOM;

	void *data = (void *)(long)context->data;
	void *end = (void *)(long)context->data_end;
	struct ethhdr *ethernet = data;
	/* There is more than this in every frame that comes here; the verifier wants to see it. */
	if (data + sizeof(*ethernet) + VLAN_BYTES + sizeof(struct ipv6hdr) + sizeof(struct udphdr) > end && !is_ip4)
		return VERDICT_PASSED_NO_ROOM;
	if (data + sizeof(*ethernet) + VLAN_BYTES + sizeof(struct iphdr) + sizeof(struct udphdr) > end)
		return VERDICT_PASSED_NO_ROOM;
	__builtin_memcpy(ethernet->h_dest, hop->destination, 6);
	__builtin_memcpy(ethernet->h_source, hop->source, 6);
	__be16 protocol = is_ip4 ? to_be16(ETH_P_IP) : to_be16(ETH_P_IPV6);
	void *network = ethernet + 1;
	if (hop->vlan) {
		struct vlan_header *vlan = network;
		network = vlan + 1;
		if (network > end)
			return VERDICT_PASSED_NO_ROOM;
		ethernet->h_proto = to_be16(ETH_P_8021Q);
		vlan->tag = to_be16(hop->vlan);
		vlan->protocol = protocol;
	} else {
		ethernet->h_proto = protocol;
	}
	struct udphdr *udp;
	if (is_ip4) {
		struct iphdr *ip = network;
		udp = (struct udphdr *)(ip + 1);
		if ((void *)(udp + 1) > end)
			return VERDICT_PASSED_NO_ROOM;
		write_ip4(ip, way, udp_bytes, headers->id);
	} else {
		struct ipv6hdr *ip = network;
		udp = (struct udphdr *)(ip + 1);
		if ((void *)(udp + 1) > end)
			return VERDICT_PASSED_NO_ROOM;
		write_ip6(ip, way, udp_bytes);
	}
	udp->source = way->local.port;
	udp->dest = way->destination.port;
	udp->len = to_be16(udp_bytes);
	udp->check = headers->checksum;
	return 0;
}

/* Puts new headers in front of the payload, and the receiver's numbers into it. 0, or VERDICT_PASSED_*, where the frame
 * is as it was. */
INLINE __u32 rewrite(struct xdp_md *context, const struct datagram *from, const struct way *way, __u32 place,
		     const struct next_hop *hop, __u16 id)
{
	__u32 udp_bytes = from->payload_bytes + sizeof(struct udphdr);
	if (ip_bytes_of(way) + udp_bytes > hop->mtu)
		return VERDICT_PASSED_TOO_LONG;
	struct rtp_header *rtp = payload_of((void *)(long)context->data, (void *)(long)context->data_end, from, sizeof(*rtp));
	if (!rtp)
		return VERDICT_PASSED_NOT_RTP;
	__u32 problem = 0;
	__u64 change = way->renumbers ? change_of(rtp, way, place) : 0;
	__be16 checksum = new_checksum(context, from, way, change, &problem);
	if (problem)
		return problem;
	struct headers headers = {
		.delta = (int)from->header_bytes - (int)header_bytes_of(way, hop),
		.udp_bytes = udp_bytes,
		.id = id,
		.checksum = checksum,
	};
	problem = write_headers(context, way, hop, &headers);
	if (problem || !way->renumbers)
		return problem;
	__u32 header_bytes = header_bytes_of(way, hop) & 127;
	rtp = (void *)(long)context->data + header_bytes;
	if ((void *)(rtp + 1) <= (void *)(long)context->data_end)
		renumber(rtp, way, place);
	return 0;
}
