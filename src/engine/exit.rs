//! Exit codes: a published contract (design 6c). One constant, one sentence each.

/// Verified, or nothing to do.
pub const OK: u8 = 0;
/// A bug in azmend.
pub const BUG: u8 = 1;
/// Input: arguments, files, VM not found or ambiguous.
pub const INPUT: u8 = 2;
/// A dry run or an audit found something.
pub const FOUND: u8 = 3;
/// Sign-in or permission; nothing changed.
pub const PERMISSION: u8 = 4;
/// Refused by a rule or not confirmed; nothing changed.
pub const REFUSED: u8 = 5;
/// Partly done, or scopes not read.
pub const PARTIAL: u8 = 6;
/// Come back: deadline, Ctrl-C, clean-up pending, Azure unreachable.
pub const COME_BACK: u8 = 7;
/// Stuck: a lock is not restored, an outcome stays unknown; a person is needed.
pub const STUCK: u8 = 8;
/// Everything was done, and the backup still fails.
pub const STILL_FAILS: u8 = 9;

/// The worse of two codes, in the order 8, 9, 6, 7, 5, 4, 3, then 2, 1, 0.
#[must_use]
pub fn worst(a: u8, b: u8) -> u8 {
    const ORDER: [u8; 10] = [OK, BUG, INPUT, FOUND, PERMISSION, REFUSED, COME_BACK, PARTIAL, STILL_FAILS, STUCK];
    let rank = |code: u8| ORDER.iter().position(|c| *c == code).unwrap_or(1);
    if rank(a) >= rank(b) { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_wins() {
        let order = [STUCK, STILL_FAILS, PARTIAL, COME_BACK, REFUSED, PERMISSION, FOUND, OK];
        for pair in order.windows(2) {
            let [worse, better] = pair else { continue };
            assert_eq!(worst(*worse, *better), *worse);
            assert_eq!(worst(*better, *worse), *worse);
        }
    }
}
