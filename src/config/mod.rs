//! Floor 2: the options of rtpengine in one table, and the files and command lines they come from.
