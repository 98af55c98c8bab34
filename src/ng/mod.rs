//! Floor 2: the language of NG messages.
