/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/*
 * Datagrams to open media ports go to the socket of the shard that serves the port; all others are left alone. A port
 * that gets more than any media brings has the excess sent to a socket that nobody reads, whose queue is always full:
 * else a flood on one port would fill the queue that all share.
 */
#include "kernel.h"

#define IPV4 2
#define IPV6 10
#define UDP 17
#define PORTS 65536
/* In a tick, which is 2^22 ns: 122,000 datagrams a second. */
#define TICK_SHIFT 22
#define MOST_IN_A_TICK 512

/* Maps are made as large as there are addresses and shards; see src/io/steer. */
#define MOST_ADDRESSES 1
#define MOST_SOCKETS 2

static struct bpf_sock *(*const find_socket)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static __u64 (*const bpf_ktime_get_coarse_ns)(void) = (void *)BPF_FUNC_ktime_get_coarse_ns;
static long (*const bpf_sk_assign)(struct bpf_sk_lookup *context, struct bpf_sock *socket,
				   __u64 flags) = (void *)BPF_FUNC_sk_assign;
static long (*const bpf_sk_release)(struct bpf_sock *socket) = (void *)BPF_FUNC_sk_release;

struct local_address {
	__be32 words[4]; /* an IPv4 address is the first */
	__u32 family;
};

struct port {
	__u8 shard; /* 0: closed, else the number of the shard and one. The rest is this program's own. */
	__u8 tick;
	__u16 count; /* of datagrams in the tick */
};

struct ports {
	struct port ports[PORTS];
};

/* The place in `sockets` after those of shards, where the two are that nobody reads. */
const volatile __u32 unread;

/* The number of each local address. */
struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_HASH);
	ATTRIBUTE(max_entries, MOST_ADDRESSES);
	TYPE(key, struct local_address);
	TYPE(value, __u32);
} addresses SECTION(".maps");

/* By number of address. The daemon opens and closes ports through mmap. */
struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_ARRAY);
	ATTRIBUTE(max_entries, MOST_ADDRESSES);
	ATTRIBUTE(map_flags, BPF_F_MMAPABLE);
	TYPE(key, __u32);
	TYPE(value, struct ports);
} open_ports SECTION(".maps");

/* Two for each shard: IPv4, IPv6. And two that nobody reads. */
struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_SOCKMAP);
	ATTRIBUTE(max_entries, MOST_SOCKETS);
	TYPE(key, __u32);
	TYPE(value, __u32);
} sockets SECTION(".maps");

/* Counts a datagram. Processors that count at once may lose one, which does no harm. */
INLINE int is_flooded(struct port *port)
{
	__u8 tick = bpf_ktime_get_coarse_ns() >> TICK_SHIFT;
	if (port->tick != tick) {
		port->tick = tick;
		port->count = 0;
	}
	if (port->count >= MOST_IN_A_TICK)
		return 1;
	port->count++;
	return 0;
}

SECTION("sk_lookup")
int steer(struct bpf_sk_lookup *context)
{
	if (context->protocol != UDP)
		return SK_PASS;
	struct local_address local = { .family = context->family };
	if (context->family == IPV4) {
		local.words[0] = context->local_ip4;
	} else {
		local.words[0] = context->local_ip6[0];
		local.words[1] = context->local_ip6[1];
		local.words[2] = context->local_ip6[2];
		local.words[3] = context->local_ip6[3];
	}
	__u32 *number = bpf_map_lookup_elem(&addresses, &local);
	if (!number)
		return SK_PASS;
	struct ports *ports = bpf_map_lookup_elem(&open_ports, number);
	if (!ports)
		return SK_PASS;
	struct port *port = &ports->ports[context->local_port & (PORTS - 1)];
	__u32 shard = port->shard;
	if (!shard)
		return SK_PASS;
	__u32 index = (is_flooded(port) ? unread : 2 * (shard - 1)) + (context->family == IPV6);
	struct bpf_sock *socket = find_socket(&sockets, &index);
	if (!socket)
		return SK_PASS;
	/* What fails is delivered as if there were no program. */
	bpf_sk_assign(context, socket, 0);
	bpf_sk_release(socket);
	return SK_PASS;
}

char terms[] SECTION("license") = "Dual MIT/GPL";
