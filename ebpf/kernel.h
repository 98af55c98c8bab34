/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* The helpers of the kernel that are used, by their numbers (linux/bpf.h), and how maps are declared. */
#pragma once

#include <linux/bpf.h>

#define SECTION(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))

/* Map attributes are types, which BTF tells the loader (libbpf's convention). */
#define ATTRIBUTE(name, value) int (*name)[value]
#define TYPE(name, value) value *name

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Times a byte: that byte in all places of a word. */
#define IN_EACH_BYTE 0x0101010101010101ULL

/* Keeps the compiler from folding what the verifier has to see. */
#define barrier_for(x) asm volatile("" : "+r"(x))

/* Functions that the verifier looks at once, for all who call them. */
#define SEPARATE __attribute__((noinline))

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static __u64 (*const bpf_ktime_get_ns)(void) = (void *)BPF_FUNC_ktime_get_ns;
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value,
					  __u64 flags) = (void *)BPF_FUNC_map_update_elem;
static long (*const bpf_redirect)(__u32 interface, __u64 flags) = (void *)BPF_FUNC_redirect;
static long (*const bpf_redirect_map)(void *map, __u64 key, __u64 flags) = (void *)BPF_FUNC_redirect_map;
static long (*const bpf_xdp_adjust_meta)(struct xdp_md *context, int delta) = (void *)BPF_FUNC_xdp_adjust_meta;
static long (*const bpf_xdp_adjust_tail)(struct xdp_md *context, int delta) = (void *)BPF_FUNC_xdp_adjust_tail;
static long (*const bpf_xdp_adjust_head)(struct xdp_md *context, int delta) = (void *)BPF_FUNC_xdp_adjust_head;
static long (*const bpf_tail_call)(void *context, void *programs, __u32 index) = (void *)BPF_FUNC_tail_call;
static long (*const bpf_xdp_load_bytes)(struct xdp_md *context, __u32 offset, void *to,
					__u32 bytes) = (void *)BPF_FUNC_xdp_load_bytes;
static long (*const bpf_xdp_store_bytes)(struct xdp_md *context, __u32 offset, void *from,
					 __u32 bytes) = (void *)BPF_FUNC_xdp_store_bytes;
static long (*const bpf_skb_pull_data)(struct __sk_buff *context, __u32 bytes) = (void *)BPF_FUNC_skb_pull_data;
static long (*const bpf_skb_store_bytes)(struct __sk_buff *context, __u32 offset, const void *from, __u32 bytes,
					 __u64 flags) = (void *)BPF_FUNC_skb_store_bytes;
static long (*const bpf_l4_csum_replace)(struct __sk_buff *context, __u32 offset, __u64 from, __u64 to,
					 __u64 flags) = (void *)BPF_FUNC_l4_csum_replace;
static __s64 (*const bpf_csum_diff)(__be32 *from, __u32 from_size, __be32 *to, __u32 to_size,
				    __u32 seed) = (void *)BPF_FUNC_csum_diff;

static long (*const bpf_loop)(__u32 count, void *body, void *state, __u64 flags) = (void *)BPF_FUNC_loop;
static long (*const bpf_ringbuf_output)(void *ring, void *data, __u64 bytes,
				       __u64 flags) = (void *)BPF_FUNC_ringbuf_output;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define to_be16(x) ((__be16)__builtin_bswap16(x))
#define to_be32(x) ((__be32)__builtin_bswap32(x))
#else
#define to_be16(x) ((__be16)(x))
#define to_be32(x) ((__be32)(x))
#endif
#define from_be16(x) ((__u16)to_be16(x))
#define from_be32(x) ((__u32)to_be32(x))
