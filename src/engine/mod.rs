//! Floor 7: the machine that owns calls; commands, datagrams and time go in, outputs come out.
