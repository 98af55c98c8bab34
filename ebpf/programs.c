/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* All programs, in one object: so they share their maps. */
#include "rx.c"
#include "srtp_cm.c"
#include "capture.c"

char terms[] SECTION("license") = "Dual MIT/GPL";
