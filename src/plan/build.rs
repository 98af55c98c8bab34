//! Builds the plans of a call.
