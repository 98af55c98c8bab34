//! Programs for the kernel and their maps.

pub(super) mod call;
mod object;
mod program;

pub(super) use object::{Compiled, Object, Plan};
pub(super) use program::{Link, Program};
