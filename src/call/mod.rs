//! Floor 4: the call model, a graph of who hears whom.
