//! ingest/spool/run.py: frames in order, as they lie in the bytes that they were read from.

use std::ops::Range;

use crate::frame::{read, Whole};

pub const KIND_PLAYBACK: u8 = 1;
pub const KIND_AD: u8 = 2;
pub const KIND_SIGNAL: u8 = 3;
pub const KIND_CMCD: u8 = 4;
const FLAG_CLOCK_BROKEN: u8 = 1;

#[derive(Clone, Default)]
pub struct Run {
    pub frames: Vec<Whole>,
}

/// What a run says without a look into its rows; in the order of ingest.spool.run.Outline.
pub struct Outline {
    pub events: u64,
    pub size_bytes: usize,
    pub forms: Vec<(u8, u16, u8)>,
    pub received_us: i64,
    pub sane_us: Option<(i64, i64)>,
    pub totals: [u64; 5],
    pub months: Vec<(u32, [u64; 2])>,
    pub rejected_by_code: Vec<u64>,
}

impl Run {
    /// Frames numbered from `sequence` on to below `until`, one behind the other from `at` on, until they are
    /// `size_bytes`. It stops early at whatever is no such frame.
    pub fn read(data: &[u8], mut at: usize, seed: u64, mut sequence: u64, until: u64, mut size_bytes: i64) -> Run {
        let mut run = Run::default();
        while size_bytes > 0 && sequence < until {
            let Some(one) = read(data, at, seed).filter(|one| one.head.sequence == sequence) else {
                break;
            };
            at = one.after();
            sequence += 1;
            size_bytes -= one.size_bytes() as i64;
            run.frames.push(one);
        }
        run
    }

    /// None of no frames.
    pub fn outline(&self, data: &[u8]) -> Option<Outline> {
        let (first, last) = (&self.frames.first()?.head, &self.frames.last()?.head);
        let mut outline = Outline {
            events: 0,
            size_bytes: 0,
            forms: Vec::new(),
            received_us: first.received_at_us,
            sane_us: None,
            totals: last.totals,
            months: Vec::new(),
            rejected_by_code: Vec::new(),
        };
        let refused = self.frames.iter().rev().find(|one| one.head.codes > 0);
        outline.rejected_by_code.extend(refused.iter().flat_map(|one| one.rejected_by_code(data)));
        for one in &self.frames {
            let head = &one.head;
            outline.events += head.count as u64;
            outline.size_bytes += one.size_bytes();
            let form = (head.kind, head.schema, head.flags);
            if outline.forms.last() != Some(&form) && !outline.forms.contains(&form) {
                outline.forms.push(form);
            }
            if head.flags & FLAG_CLOCK_BROKEN == 0 {
                let at_us = head.received_at_us;
                let (least, most) = outline.sane_us.unwrap_or((at_us, at_us));
                outline.sane_us = Some((least.min(at_us), most.max(at_us)));
            }
            if head.kind != KIND_SIGNAL {
                match outline.months.iter_mut().find(|(month, _)| *month == head.month) {
                    Some((_, totals)) => *totals = head.month_totals,
                    None => outline.months.push((head.month, head.month_totals)),
                }
            }
        }
        Some(outline)
    }

    /// By month in the order in which they come: rows and the sum of their hashes modulo 2^64.
    pub fn sums(&self) -> Vec<(u32, u64, u64)> {
        let mut sums: Vec<(u32, u64, u64)> = Vec::new();
        for one in &self.frames {
            let (rows, hash) = (one.head.count as u64, one.head.rows_hash);
            match sums.iter_mut().find(|(month, _, _)| *month == one.head.month) {
                Some(sum) => (sum.1, sum.2) = (sum.1 + rows, sum.2.wrapping_add(hash)),
                None => sums.push((one.head.month, rows, hash)),
            }
        }
        sums
    }

    /// Which frames from `begin` on have rows of `size_bytes` together, or are all there are; and how much that is.
    pub fn piece(&self, begin: usize, size_bytes: usize) -> (Range<usize>, usize) {
        let (mut end, mut piece_bytes) = (begin, 0);
        while end < self.frames.len() && piece_bytes < size_bytes {
            piece_bytes += self.frames[end].rows_bytes();
            end += 1;
        }
        (begin..end, piece_bytes)
    }

    /// Their rows, one behind the other, into `rows`, which is as long.
    pub fn gather(&self, data: &[u8], piece: Range<usize>, mut rows: &mut [u8]) {
        for one in &self.frames[piece] {
            let (here, rest) = rows.split_at_mut(one.rows_bytes());
            here.copy_from_slice(one.payload(data).1);
            rows = rest;
        }
    }

    /// Of frames of playback, by whether `suspect` says so of their event ids: those not suspected, and the indices of the
    /// others, then of those of broken clocks, whatever it says; the indices of frames of ad events; last how many lines
    /// of CMCD there are. None for a tuple cut short. Signals are left out.
    #[allow(clippy::type_complexity)]
    pub fn divided(
        &self,
        data: &[u8],
        mut suspect: impl FnMut(&[u8], &[u8]) -> Option<bool>,
    ) -> Option<(Run, Vec<usize>, Vec<usize>, Vec<usize>, u64)> {
        let (mut plain, mut suspected, mut broken) = (Vec::with_capacity(self.frames.len()), Vec::new(), Vec::new());
        let (mut ads, mut lines) = (Vec::new(), 0);
        for (number, one) in self.frames.iter().enumerate() {
            match one.head.kind {
                KIND_SIGNAL => continue,
                KIND_AD => {
                    ads.push(number);
                    continue;
                }
                KIND_CMCD => {
                    lines += one.head.count as u64;
                    continue;
                }
                _ => {}
            }
            let (ends_table, rows) = one.payload(data);
            let is_suspected = suspect(rows, ends_table)?;
            if one.head.flags & FLAG_CLOCK_BROKEN != 0 {
                broken.push(number);
            } else if is_suspected {
                suspected.push(number);
            } else {
                plain.push(*one);
            }
        }
        Some((Run { frames: plain }, suspected, broken, ads, lines))
    }
}
