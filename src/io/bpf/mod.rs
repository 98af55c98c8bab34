//! Programs for the kernel and their maps, for whoever attaches them.

pub(super) mod call;
mod object;

pub(super) use object::{Fault, Object, Plan};
