//! Tuples → frame bodies: one for each kind of row, state of the player's clock and UTC month; nearly always one.

use std::collections::HashSet;

use xxhash_rust::xxh3::xxh3_64;

use super::event::Placed;
use super::field::{month_of, DAY_US};
use super::request::FLAG_CLOCK_BROKEN;

const KIND_PLAYBACK: u8 = 1;
const KIND_SIGNAL: u8 = 3;
const MONTH_UNSETTLED: u32 = 0;
/// Up to so many events, comparing each with each is quicker than a set.
const COMPARED_MAX: usize = 40;

/// What becomes one frame.
pub struct Body {
    pub kind: u8,
    pub flags: u8,
    pub month: u32,
    /// Sum of xxh3_64 of every tuple, modulo 2^64.
    pub rows_hash: u64,
    /// Begin and end of each tuple in the rows.
    members: Vec<(usize, usize)>,
    rows_bytes: usize,
}

pub struct Bundle {
    rows: Vec<u8>,
    pub bodies: Vec<Body>,
    pub received: usize,
    pub duplicates: usize,
}

impl Body {
    pub fn count(&self) -> usize {
        self.members.len()
    }

    /// Of its payload: a table of ends, u32 each, and the tuples.
    pub fn payload_bytes(&self) -> usize {
        4 * self.members.len() + self.rows_bytes
    }
}

impl Bundle {
    /// Fills `payload`, which is as long as the body says.
    pub fn write(&self, body: &Body, payload: &mut [u8]) {
        let (ends, tuples) = payload.split_at_mut(4 * body.members.len());
        let mut at = 0;
        for (entry, (begin, end)) in ends.chunks_exact_mut(4).zip(&body.members) {
            let row = &self.rows[*begin..*end];
            tuples[at..at + row.len()].copy_from_slice(row);
            at += row.len();
            entry.copy_from_slice(&(at as u32).to_le_bytes());
        }
    }
}

/// Bodies in order of first appearance; of repeats of a key, for rows and for signals apart, the first stays.
pub fn bundle(rows: Vec<u8>, placed: &[Placed]) -> Bundle {
    let is_repeat = repeats(placed);
    let mut bodies: Vec<Body> = Vec::with_capacity(1);
    let mut begin = 0;
    let mut known = (i64::MIN, 0);
    for (number, event) in placed.iter().enumerate() {
        let from = std::mem::replace(&mut begin, event.end);
        if is_repeat.as_ref().is_some_and(|is_repeat| is_repeat[number]) {
            continue;
        }
        let kind = if event.is_signal { KIND_SIGNAL } else { KIND_PLAYBACK };
        let month = if event.is_signal || event.flags & FLAG_CLOCK_BROKEN != 0 {
            MONTH_UNSETTLED
        } else {
            let day = event.occurred_us / DAY_US;
            if known.0 != day {
                known = (day, month_of(day));
            }
            known.1
        };
        let same = |body: &Body| (body.kind, body.flags, body.month) == (kind, event.flags, month);
        let at = bodies.iter().position(same).unwrap_or_else(|| {
            let members = Vec::with_capacity(placed.len());
            bodies.push(Body { kind, flags: event.flags, month, rows_hash: 0, members, rows_bytes: 0 });
            bodies.len() - 1
        });
        let body = &mut bodies[at];
        body.rows_hash = body.rows_hash.wrapping_add(xxh3_64(&rows[from..event.end]));
        body.members.push((from, event.end));
        body.rows_bytes += event.end - from;
    }
    let kept: usize = bodies.iter().map(Body::count).sum();
    Bundle { rows, bodies, received: placed.len(), duplicates: placed.len() - kept }
}

/// Which events repeat an earlier one; None when none does.
fn repeats(placed: &[Placed]) -> Option<Vec<bool>> {
    if placed.len() <= COMPARED_MAX {
        let ids: Vec<u128> = placed.iter().map(|event| u128::from_ne_bytes(event.event_id)).collect();
        if !(1..ids.len()).any(|number| ids[..number].contains(&ids[number])) {
            return None;
        }
    }
    let mut seen = HashSet::with_capacity(placed.len());
    let repeats: Vec<bool> =
        placed.iter().map(|event| !seen.insert((event.is_signal, event.occurred_us, event.event_id))).collect();
    repeats.contains(&true).then_some(repeats)
}
