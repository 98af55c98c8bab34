/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/*
 * What the maps hold. src/fastpath/layout.rs says the same in Rust; a test compares sizes and offsets with those that
 * the compiler put into the object's debug information.
 */
#pragma once

#include <linux/types.h>

/* How many of each there can be. */
#define MOST_FLOWS 262144
#define MOST_NEXT_HOPS 65536
#define MOST_DEVICES 1024
#define MOST_DEVICE_LISTS 4096
#define MOST_LINES 4096
/* Receivers of one flow. A device takes so many copies of a packet at once. */
#define MOST_COPIES 32

/* Payload types that one flow lets through. */
#define MOST_PAYLOAD_TYPES 8
#define NO_PLACE 255

/* An address and port. IPv4 is mapped into IPv6 (RFC 4291, section 2.5.5.2). Network byte order. */
struct endpoint {
	__be32 address[4];
	__be16 port;
	__u16 side; /* of a flow's own: 1 for the second at a port that two peers send to; 0 everywhere else */
};

/* Where a receiver is, and what it gets in place of what came. */
struct way {
	struct endpoint local; /* where copies are sent from */
	struct endpoint destination;
	__u32 next_hop; /* index of struct next_hop */
	__u32 ssrc;
	__u8 tos;
	__u8 renumbers; /* the SSRC or some payload type is another than the sender's */
	__u16 silences; /* two bits for each place, SILENCE_*: what stands in for payloads */
	__u8 payload_types[MOST_PAYLOAD_TYPES]; /* by place; NO_PLACE: the receiver gets none of these */
};

/* struct way, silences; the bytes are those of src/sdp/codec.rs */
#define SILENCE_NONE 0
#define SILENCE_PCMU 1
#define SILENCE_PCMA 2
#define SILENCE_G722 3

/* struct flow, flags */
#define FLOW_DROPS 1	    /* nobody is to hear it */
#define FLOW_IS_STRICT 2    /* other sources are dropped */
#define FLOW_IS_SRTP 4	    /* it is opened, protected or silenced: there are keys and order at the index of its stream */
#define FLOW_IS_FOR_TC 64   /* rx leaves it to rx_tc */
#define FLOW_IS_CAPTURED 128 /* its frames are copied for the daemon */
#define FLOW_SHARES_PORT 512 /* another peer sends to the port, too, whose flow has the other side */
#define FLOW_IS_AT_LOOPBACK 1024 /* its sender is on this host: it is for rx_tc at the loopback device alone */
#define FLOW_IS_LIFTED 256   /* what comes from the peer goes to a line of the daemon; group is the number of the shard */

/* The number of the loopback device, the first of each network namespace. */
#define LOOPBACK 1

/* The bits of struct flow, flags, above this: bit n says that the payload type with place n is a telephone-event. */
#define FLOW_EVENTS 24

/* Flows that share an element of the map fronts, at most. */
#define MOST_CHAINED 4

/*
 * What is done with RTP that arrives at a local port. A flow is whole before anything leads to it, and is never changed but
 * for what follows it; another one takes its place. Two lines of the processor's cache.
 *
 * What leads to a flow is one word, which changes at once: the flow's index below, that of its struct stream above; 0:
 * nothing. There is no flow with the index 0.
 */
struct flow {
	__u64 next; /* leads to the next one of the same element of the map fronts */
	__u32 flags;
	__u32 group; /* whose receivers get copies; 0: the only receiver is on the way here */
	__u32 clock_rate_hz;
	struct endpoint local; /* the port */
	struct endpoint source; /* where the peer sends from */
	struct way way;
	__u8 payload_types[MOST_PAYLOAD_TYPES]; /* that pass, by place; NO_PLACE: none */
};

/* Copies of one packet that leave by one interface. */
struct run {
	__u32 interface;
	__u32 first; /* number of the first copy; the others follow */
};

#define MOST_RUNS 4

/* struct group, flags */
#define GROUP_IS_SRTP 1 /* some copies are protected, or silenced */
#define GROUP_INSERTS 2 /* some get a header extension: packets that have one, or contributing sources, do not pass */

/* The receivers of a flow with several. A group is never changed, but for its users: another one takes its place. */
struct group {
	__u64 users; /* clones that are on their way, where GROUP_IS_SRTP */
	__u32 copies;
	__u32 flags;
	__u32 devices; /* index of the list of devices, with one entry for each copy */
	__u32 longest_bytes; /* of a payload that fits everybody's way */
	struct run runs[MOST_RUNS];
	__u32 list[MOST_COPIES]; /* indices of struct copy, by number of the copy */
};

/* struct copy, flags */
#define COPY_IS_SRTP 1 /* protected or silenced: there are keys and order at the index of the copy, with this bit: */
#define COPY_KEYS 0x80000000
#define COPY_PASSES 2 /* the keys are the sender's: protected with the index that it came with, a packet is what it was */

/* One of several receivers, and what it was sent. */
struct copy {
	__u64 packets;
	__u64 bytes;
	__u64 used_index; /* packets whose index had been sent before */
	struct way way;
	__u32 flags;
};

/* What changes with every packet, of the one SSRC that the flow carries. src/rtp/source.rs says what it means. */
struct stream {
	__u64 packets; /* sent on, or dropped because nobody is to hear them */
	__u64 bytes;
	__u64 window;
	__u64 last_arrival_ns;
	__u32 ssrc;
	__u32 highest;
	__u32 base;
	__u32 last_timestamp;
	__u32 transit;
	__u32 jitter_16ths;
	__u32 has_transit;
	__u32 lost;
	__u32 duplicates;
	__u32 late;
	__u32 skips;
	__u32 wrong_source;
	__u32 last_sequence; /* of the last packet, in order or not */
	__u32 wrong_tag; /* SRTP that did not pass */
	__u32 replayed;
	__u32 used_index; /* packets whose index had been sent before */
	__u64 payload_packets[MOST_PAYLOAD_TYPES];
	__u64 zero[4]; /* up to the end of a line of the processor's cache */
};

/* struct keys, steps */
#define STEP_OPENS 1	/* what comes is authenticated */
#define STEP_DECRYPTS 2 /* and made plain */
#define STEP_PROTECTS 4 /* what leaves is encrypted and gets a tag */

#define MOST_ROUND_KEYS 60

/* struct direction, cipher. All but GCM go with HMAC-SHA1. */
#define CIPHER_NONE 0
#define CIPHER_COUNTER_MODE 1
#define CIPHER_F8 2
#define CIPHER_GCM 3

/* The round keys of AES. */
struct schedule {
	__u32 words[MOST_ROUND_KEYS];
};

/* The session keys of one direction (RFC 3711, section 4.3), as numbers in the order of the host. */
struct direction {
	struct schedule cipher_keys;
	struct schedule masked_keys; /* of f8 */
	__u32 cipher;
	__u32 rounds; /* 10, 12 or 14 */
	__u32 tag_bytes;
	__u32 salt[4]; /* as far to the left as the IV has it */
	__u32 inner[5]; /* HMAC behind the blocks of the key */
	__u32 outer[5];
	__u32 zero;
	__u64 hash_key[4]; /* of GCM: both halves, then both with their bits in the opposite order */
};

#define MOST_INSERTED 24

/* What a flow of SRTP is opened and protected with. Userspace writes it with BPF_F_LOCK, in place: so it can be wiped. */
struct keys {
	struct bpf_spin_lock lock;
	__u32 steps;
	__u32 insert_bytes; /* of a header extension that packets get on their way; a multiple of 4 */
	__u8 insert[MOST_INSERTED];
	__u32 zero;
	struct direction open;
	struct direction protect;
};

#define WINDOW_SLOTS 128

/* Which packets of an SSRC were there (RFC 3711, section 3.3.2). */
struct window {
	__u64 highest;
	__u64 slots[WINDOW_SLOTS]; /* by the low bits of the index: the last one that was there, plus 1; 0: none */
};

/* What a flow of SRTP has got to. */
struct order {
	__u64 users; /* programs that are at it */
	struct window opened;
	struct window protected;
};

/* The tables of AES: S-box and column mix in one, by the byte's place in its word. */
struct tables {
	__u32 words[4][256];
};

/* The way to a neighbour. */
struct next_hop {
	__u32 interface; /* 0: none is known */
	__u16 mtu;
	__u16 vlan; /* 0: untagged */
	__u8 source[6];
	__u8 destination[6];
};

/* The longest frame that a line takes. */
#define LINE_BYTES 1792

/* The lines of an interface: sockets (AF_XDP) by shard, and by queue for each. */
struct interface_lines {
	__u32 first;
	__u32 queues;
};

/* The longest part of a frame that is captured. */
#define SNAP_BYTES 2048

/* A frame of a flow that is captured. */
struct captured {
	__u64 time_ns;
	struct endpoint port; /* the flow's key */
	__u32 interface; /* it came from, or goes to */
	__u32 verdict; /* VERDICT_FORWARDED, or why it is dropped */
	__u32 frame_bytes;
	__u32 is_sent; /* as it leaves, rather than as it came */
	__u32 zero;
	__u8 bytes[SNAP_BYTES]; /* as many as there are */
};

/* Verdicts, as counted for each processor. Those from PASSED on name what the program left to the daemon. */
enum verdict {
	VERDICT_FORWARDED,
	VERDICT_BLOCKED,
	VERDICT_WRONG_SOURCE,
	VERDICT_PASSED_NO_FLOW,
	VERDICT_PASSED_OTHER_SOURCE,
	VERDICT_PASSED_NOT_PLAIN_UDP, /* IP options, fragments, extension headers */
	VERDICT_PASSED_NOT_RTP, /* STUN, DTLS, RTCP, too short */
	VERDICT_PASSED_PAYLOAD_TYPE,
	VERDICT_PASSED_SSRC,
	VERDICT_PASSED_JUMP, /* a sequence number far from the last */
	VERDICT_PASSED_NO_NEIGHBOUR,
	VERDICT_PASSED_TOO_LONG, /* for the way on */
	VERDICT_PASSED_NO_CHECKSUM, /* IPv4 without, IPv6 must have one */
	VERDICT_PASSED_NO_ROOM, /* for another header in front */
	VERDICT_WRONG_TAG,
	VERDICT_REPLAYED,
	VERDICT_PASSED_NO_KEYS, /* they are just being taken away */
	VERDICT_PASSED_MALFORMED, /* too short for its header or its tag */
	VERDICT_PASSED_KEY_EXPIRED,
	VERDICT_PASSED_EXTENSION, /* there is one already where one is to be put */
	VERDICT_LOST_COPY, /* its receiver was just taken away, or has moved to another interface */
	VERDICT_PASSED_TO_TC,
	VERDICT_LIFTED, /* to the daemon, past the host's network stack */
	VERDICT_PASSED_NO_LINE, /* by which it could be lifted */
	VERDICTS,
};
