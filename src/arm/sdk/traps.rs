//! The traps of the frozen SDK crates, pinned.
