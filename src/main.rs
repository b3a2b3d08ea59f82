//! The azmend binary.
fn main() {}
