//! Rows of frames into requests. Twin: storage.scylla.requests.Requests, which is left whatever is no whole tuple.

use std::collections::{HashMap, HashSet};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use xxhash_rust::xxh3::xxh3_64;

use super::tuple::{Id, Tuple, EDGE, PROFILE};
use super::waiting::{Most, Partition, Place, Request, Waiting};
use super::writes::Writes;
use crate::frame::{tuples, Whole};
use crate::{guarded, Run};

const KEY_BYTES: usize = 80;
const EDGE_BUCKETS: u64 = 16;
const DAYS_MAX: usize = 1_000;
/// Requests that are handed out at once: no more values than the processor's cache holds.
const TOGETHER: usize = 8;

struct Day {
    default: u64,
    planned: HashMap<Id, u64>,
}

/// What has to be known before a row can be placed.
enum Need {
    Day(i64),
    Mask(u32),
}

#[pyclass]
pub struct CqlPlacing {
    size_max_bytes: usize,
    days: HashMap<i64, Day>,
    watched: HashSet<Id>,
    waiting: Waiting,
    writes: Writes,
    /// What waiting rows lie in.
    data: Vec<Py<PyBytes>>,
}

/// Frame and row where to go on; the day or the mask that is asked for; a row that is left to the twin; full requests.
type Placed<'py> = (usize, usize, Option<i64>, Option<u32>, Option<Bound<'py, PyBytes>>, Vec<(u8, Bound<'py, PyList>)>);

#[pymethods]
impl CqlPlacing {
    #[new]
    fn new(size_max_bytes: usize, errors: Py<PyAny>) -> Self {
        CqlPlacing {
            size_max_bytes,
            days: HashMap::new(),
            watched: HashSet::new(),
            waiting: Waiting::default(),
            writes: Writes::new(errors),
            data: Vec::new(),
        }
    }

    /// How many buckets contents have on that day.
    fn know_day(&mut self, day: i64, default: u64, planned: HashMap<Vec<u8>, u64>) {
        if self.days.len() >= DAYS_MAX {
            self.days.clear();
        }
        let planned = planned.into_iter().filter_map(|(id, count)| Some((Id::try_from(id).ok()?, count.max(1)))).collect();
        self.days.insert(day, Day { default: default.max(1), planned });
    }

    /// The statements for rows that have just the columns of that mask; `are_of_every`: for any.
    fn know_mask(&mut self, mask: u32, by_table: (Py<PyAny>, Py<PyAny>, Py<PyAny>), are_of_every: bool) {
        self.writes.know(mask, by_table.into(), are_of_every);
    }

    /// Events of these 16-byte ids are not placed: `divide` says where they are.
    fn watch(&mut self, ids: Vec<Vec<u8>>) {
        self.watched.extend(ids.into_iter().filter_map(|id| Id::try_from(id).ok()));
    }

    /// A run's frames of playback of which none is watched; the numbers of those with a watched event; of those of
    /// broken clocks; how many ad events there are; and how many lines of CMCD.
    fn divide(&self, py: Python<'_>, run: &Run) -> PyResult<(Run, Vec<usize>, Vec<usize>, u64, u64)> {
        let data = run.data.as_bytes(py);
        let is_watched = |rows: &[u8], ends_table: &[u8]| {
            let mut ids = tuples(rows, ends_table).filter_map(|tuple| tuple?.get(6..22)?.first_chunk::<16>());
            Some(!self.watched.is_empty() && ids.any(|id| self.watched.contains(id)))
        };
        let divided = guarded(|| run.run.divided(data, is_watched))?;
        let (plain, watched, broken, ads, lines) = divided.unwrap_or_default();
        let ads = ads.into_iter().map(|number| u64::from(run.run.frames[number].head.count)).sum();
        Ok((Run { data: run.data.clone_ref(py), run: plain }, watched, broken, ads, lines))
    }

    /// Places up to `rows_most` rows of a run, from that row of that frame on.
    fn place<'py>(
        &mut self,
        py: Python<'py>,
        run: &Run,
        frame: usize,
        row: usize,
        rows_max: usize,
        rows_most: usize,
    ) -> PyResult<Placed<'py>> {
        let data = run.data.as_bytes(py);
        if !self.data.last().is_some_and(|last| last.is(&run.data)) {
            self.data.push(run.data.clone_ref(py));
        }
        let most = Most { rows: rows_max, size_bytes: self.size_max_bytes };
        guarded(|| {
            let mut full = Vec::new();
            let (frame, row, need, odd) = self.placed(&run.run.frames, data, (frame, row), most, rows_most, &mut full);
            let (day, mask) = match need {
                Some(Need::Day(day)) => (Some(day), None),
                Some(Need::Mask(mask)) => (None, Some(mask)),
                None => (None, None),
            };
            let odd = odd.map(|tuple| PyBytes::new(py, tuple));
            Ok((frame, row, day, mask, odd, self.made(py, &full)?))
        })?
    }

    /// Some of what is in no request yet; nothing: that was all.
    fn left<'py>(&mut self, py: Python<'py>) -> PyResult<Vec<(u8, Bound<'py, PyList>)>> {
        guarded(|| {
            let left: Vec<Request> = std::iter::from_fn(|| self.waiting.take()).take(TOGETHER).collect();
            let made = self.made(py, &left)?;
            if left.is_empty() {
                self.data.clear();
            }
            Ok(made)
        })?
    }
}

impl CqlPlacing {
    /// Frame and row where to go on, and why it stopped.
    fn placed<'a>(
        &mut self,
        frames: &[Whole],
        data: &'a [u8],
        (mut frame, mut row): (usize, usize),
        most: Most,
        mut rows_most: usize,
        full: &mut Vec<Request>,
    ) -> (usize, usize, Option<Need>, Option<&'a [u8]>) {
        let number = self.data.len() as u32 - 1;
        while let Some(one) = frames.get(frame) {
            let (ends_table, rows) = one.payload(data);
            let end_of = |row: usize| {
                let entry = ends_table.get(4 * row..4 * row + 4)?;
                Some(u32::from_le_bytes(*entry.first_chunk()?) as usize)
            };
            while let Some(end) = end_of(row) {
                if rows_most == 0 || full.len() >= TOGETHER {
                    return (frame, row, None, None);
                }
                rows_most -= 1;
                let begin = row.checked_sub(1).and_then(end_of).unwrap_or(0);
                let tuple = rows.get(begin..end).unwrap_or_default();
                let Some(read) = Tuple::read(tuple) else { return (frame, row + 1, None, Some(tuple)) };
                let at = one.rows_at();
                let place = Place { data: number, of_mask: 0, begin: at + begin, end: at + end };
                let need = self.add(&read, place, most, full);
                if need.is_some() {
                    return (frame, row, need, None);
                }
                row += 1;
            }
            (frame, row) = (frame + 1, 0);
        }
        (frame, row, None, None)
    }

    /// One row into every table it belongs in, or what is needed first.
    fn add(&mut self, tuple: &Tuple<'_>, place: Place, most: Most, full: &mut Vec<Request>) -> Option<Need> {
        let (day, hour, hashed) = (tuple.day(), tuple.hour(), xxh3_64(tuple.event));
        let Some(buckets) = self.days.get(&day) else { return Some(Need::Day(day)) };
        let Some(of_mask) = self.writes.of_mask(tuple.mask) else { return Some(Need::Mask(tuple.mask)) };
        let place = Place { of_mask, ..place };
        let buckets = buckets.planned.get(tuple.content).copied().unwrap_or(buckets.default);
        let bucket = hour.rem_euclid(24) as u64 * buckets + hashed % buckets;
        let size_bytes = tuple.size_bytes + KEY_BYTES;
        self.waiting.add(Partition::Session(*tuple.session, hour), place, size_bytes, most, full);
        self.waiting.add(Partition::Content(*tuple.content, day, bucket), place, size_bytes, most, full);
        if let Some(profile) = tuple.optional[PROFILE].and_then(|id| id.first_chunk()) {
            self.waiting.add(Partition::Profile(*profile, day), place, 2 * KEY_BYTES, most, full);
        }
        if tuple.kind == b"error" {
            let edge = tuple.optional[EDGE].unwrap_or_default().to_vec();
            self.waiting.add(Partition::Errors(edge, hour, hashed % EDGE_BUCKETS), place, size_bytes, most, full);
        }
        None
    }

    /// As tables and what is bound.
    fn made<'py>(&mut self, py: Python<'py>, requests: &[Request]) -> PyResult<Vec<(u8, Bound<'py, PyList>)>> {
        requests.iter().map(|one| Ok((one.partition.table(), self.writes.of(py, one, &self.data)?))).collect()
    }
}
