//! What stands under every part of azmend: time, durations, text for people, spelling, and YAML.
//!
//! Only [`clock`] reads the time or sleeps. Must never: know what any of it is used for.

pub mod clock;
pub mod duration;
pub mod spelling;
pub mod text;
pub mod yaml;
