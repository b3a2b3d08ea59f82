//! Everything that is tested from outside: one binary, on the embedded Azure under virtual time.

mod behaviour;
mod crash_matrix;
mod interference;
mod matrix_support;
mod simulation;
mod support;
mod undo_matrix;
