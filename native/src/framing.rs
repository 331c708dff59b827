//! The frames of one incarnation, numbered, with running totals, as ingest/spool/framing.py makes them.

use std::collections::BTreeMap;

use crate::frame;

const KIND_SIGNAL: u8 = 3;
/// Kept from one group to the next.
const KEPT_BYTES: usize = 1024 * 1024;

/// What a body says of itself: an ingest.batch.FrameBody without its payload.
pub struct Rows {
    pub kind: u8,
    pub flags: u8,
    pub schema: u16,
    pub month: u32,
    pub count: u32,
    pub rows_hash: u64,
    pub payload_bytes: usize,
}

/// received, rows, signals, duplicates, rejected.
pub type Totals = [u64; 5];

pub struct State {
    pub sequence: u64,
    pub totals: Totals,
    /// month, rows, hash
    pub months: Vec<(u32, u64, u64)>,
    pub rejected_by_code: Vec<u64>,
}

pub struct Framing {
    seed: u64,
    frame_max_bytes: usize,
    sequence: u64,
    totals: Totals,
    framed: Totals,
    months: BTreeMap<u32, [u64; 2]>,
    rejected: Vec<u64>,
    rejected_changed: bool,
    framed_rejected: Vec<u64>,
    frames: Vec<u8>,
    /// Of `frames`, what is whole: more is there only behind a bug.
    whole_bytes: usize,
}

impl Framing {
    pub fn new(seed: u64, frame_max_bytes: usize) -> Self {
        Framing {
            seed,
            frame_max_bytes,
            sequence: 0,
            totals: [0; 5],
            framed: [0; 5],
            months: BTreeMap::new(),
            rejected: Vec::new(),
            rejected_changed: false,
            framed_rejected: Vec::new(),
            frames: Vec::new(),
            whole_bytes: 0,
        }
    }

    /// Counts what a request held beside its frames: duplicates, and what was rejected by code.
    pub fn note(&mut self, received: u64, duplicates: u64, rejected_by_code: &[(u16, u64)]) {
        for &(code, count) in rejected_by_code {
            let code = code as usize;
            if code >= self.rejected.len() {
                self.rejected.resize(code + 1, 0);
            }
            self.rejected[code] += count;
            self.rejected_changed = true;
            self.totals[4] += count;
        }
        self.totals[0] += received;
        self.totals[3] += duplicates;
    }

    /// What the next frame says of refusals: nothing when there are none since the last one.
    fn refusals(&self) -> &[u64] {
        if self.rejected_changed {
            &self.rejected
        } else {
            &[]
        }
    }

    /// Whether the next frame can hold these rows.
    pub fn fits(&self, rows: &Rows) -> bool {
        rows.count > 0 && rows.payload_bytes + 8 * self.refusals().len() <= self.frame_max_bytes
    }

    /// The next frame, whose rows `fit`; `fill` writes its payload. The totals move when it is whole.
    pub fn add(&mut self, rows: &Rows, received_at_us: i64, fill: impl FnOnce(&mut [u8])) {
        let count = rows.count as u64;
        let mut totals = self.totals;
        totals[0] += count;
        let month_totals = if rows.kind == KIND_SIGNAL {
            totals[2] += count;
            [0; 2]
        } else {
            totals[1] += count;
            let [before, hash] = self.months.get(&rows.month).copied().unwrap_or_default();
            [before + count, hash.wrapping_add(rows.rows_hash)]
        };
        let refusals: &[u64] = if self.rejected_changed { &self.rejected } else { &[] }; // not all of self is borrowed
        let length_bytes = 8 * refusals.len() + rows.payload_bytes;
        let head = frame::Head {
            kind: rows.kind,
            flags: rows.flags,
            schema: rows.schema,
            count: rows.count,
            length_bytes: length_bytes as u32,
            codes: refusals.len() as u16,
            sequence: self.sequence,
            received_at_us,
            month: rows.month,
            rows_hash: rows.rows_hash,
            month_totals,
            totals,
        };
        let end = self.whole_bytes + frame::frame_bytes(length_bytes);
        self.frames.resize(end, 0);
        frame::write(&head, refusals, fill, self.seed, &mut self.frames[self.whole_bytes..]);
        self.whole_bytes = end;
        if rows.kind != KIND_SIGNAL {
            self.months.insert(rows.month, month_totals);
        }
        if self.rejected_changed {
            self.rejected_changed = false;
            self.framed_rejected.clone_from(&self.rejected);
        }
        self.totals = totals;
        self.framed = totals;
        self.sequence += 1;
    }

    /// The frames since `clear`.
    pub fn frames(&self) -> &[u8] {
        &self.frames[..self.whole_bytes]
    }

    pub fn clear(&mut self) {
        self.frames.clear();
        self.frames.shrink_to(KEPT_BYTES);
        self.whole_bytes = 0;
    }

    /// Behind the last frame.
    pub fn state(&self) -> State {
        State {
            sequence: self.sequence,
            totals: self.framed,
            months: self.months.iter().map(|(&month, &[rows, hash])| (month, rows, hash)).collect(),
            rejected_by_code: self.framed_rejected.clone(),
        }
    }
}
