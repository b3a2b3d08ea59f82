//! Everything that is tested from outside: one binary, on the embedded Azure under virtual time.

mod behaviour;
mod doctor;
mod permissions;
mod support;
