//! storage/postgres/fingerprint.py: which frames may hold a row that is stored already.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::ops::Range;

use crate::frame::tuples;

const EVENT_ID: Range<usize> = 6..22;

/// A fingerprint is a hash already, salted so that players cannot choose it.
#[derive(Default)]
pub struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("fingerprints are u64");
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

type Set = HashSet<u64, BuildHasherDefault<AsItIs>>;

pub struct Generations {
    generation_max: usize,
    salt: RandomState,
    younger: Set,
    older: Set,
    always: Set,
    pending: Vec<u64>,
}

impl Generations {
    pub fn new(generation_max: usize) -> Self {
        Generations {
            generation_max,
            salt: RandomState::new(),
            younger: Set::default(),
            older: Set::default(),
            always: Set::default(),
            pending: Vec::new(),
        }
    }

    /// Suspects these for ever; how many there are.
    pub fn always<'a>(&mut self, ids: impl Iterator<Item = &'a [u8]>) -> usize {
        self.always.extend(ids.map(|id| self.salt.hash_one(id)));
        self.always.len()
    }

    /// Whether an event id of a frame's tuples was seen before, or comes twice in it. All are seen from now on. None,
    /// and nothing was seen, when a tuple is cut short.
    pub fn suspect(&mut self, rows: &[u8], ends_table: &[u8]) -> Option<bool> {
        let first = self.pending.len();
        for row in tuples(rows, ends_table) {
            let Some(id) = row.and_then(|row| row.get(EVENT_ID)) else {
                self.pending.truncate(first);
                return None;
            };
            self.pending.push(self.salt.hash_one(id));
        }
        // Each look misses the caches; kept apart from one another they are on their way together.
        let seen = &self.pending[first..];
        let mut suspected = seen.iter().fold(false, |found, one| found | self.older.contains(one));
        if !self.always.is_empty() {
            suspected |= seen.iter().any(|one| self.always.contains(one));
        }
        for one in seen {
            suspected |= !self.younger.insert(*one);
        }
        Some(suspected)
    }

    pub fn keep(&mut self) {
        self.pending.clear();
        if self.younger.len() >= self.generation_max {
            std::mem::swap(&mut self.older, &mut self.younger);
            self.younger.clear(); // it keeps its room: it is as large again soon
        }
    }

    pub fn forget(&mut self) {
        for fingerprint in self.pending.drain(..) {
            self.younger.remove(&fingerprint);
        }
    }
}
