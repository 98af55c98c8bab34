/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* Datagrams to open media ports go to the socket of the shard that serves the port; all others are left alone. */
#include "kernel.h"

#define IPV4 2
#define IPV6 10
#define UDP 17
#define PORTS 65536

/* Maps are made as large as there are addresses and shards; see src/io/steer. */
#define MOST_ADDRESSES 1
#define MOST_SOCKETS 2

static struct bpf_sock *(*const find_socket)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*const bpf_sk_assign)(struct bpf_sk_lookup *context, struct bpf_sock *socket,
				   __u64 flags) = (void *)BPF_FUNC_sk_assign;
static long (*const bpf_sk_release)(struct bpf_sock *socket) = (void *)BPF_FUNC_sk_release;

struct local_address {
	__be32 words[4]; /* an IPv4 address is the first */
	__u32 family;
};

struct ports {
	__u8 shards[PORTS]; /* 0: closed, else the number of the shard and one */
};

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

/* Two for each shard: IPv4, IPv6. */
struct {
	ATTRIBUTE(type, BPF_MAP_TYPE_SOCKMAP);
	ATTRIBUTE(max_entries, MOST_SOCKETS);
	TYPE(key, __u32);
	TYPE(value, __u32);
} sockets SECTION(".maps");

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
	__u32 shard = ports->shards[context->local_port & (PORTS - 1)];
	if (!shard)
		return SK_PASS;
	__u32 index = 2 * (shard - 1) + (context->family == IPV6);
	struct bpf_sock *socket = find_socket(&sockets, &index);
	if (!socket)
		return SK_PASS;
	/* What fails is delivered as if there were no program. */
	bpf_sk_assign(context, socket, 0);
	bpf_sk_release(socket);
	return SK_PASS;
}

char terms[] SECTION("license") = "Dual MIT/GPL";
