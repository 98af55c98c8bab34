/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0 */
/* All programs, in one object: so they share their maps. */
#include "egress.c"
#include "rx.c"
#include "capture.c"
#include "rx_tc.c"
#include "srtp.c"

char terms[] SECTION("license") = "Dual MIT/GPL";
