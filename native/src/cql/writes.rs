//! A request's rows as what a driver binds: statements, and values in their order. Made just before they are sent, while
//! the processor's cache holds them.

use std::collections::HashMap;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyList, PyTuple};

use super::tuple::{Tuple, OPTIONAL};
use super::values::{dashed, Known};
use super::waiting::{Partition, Request};

/// position, duration, device_type: what events_by_profile has of the optional columns.
const OF_PROFILE: [usize; 3] = [2, 3, 7];
/// The same of errors_by_edge.
const OF_ERRORS: [usize; 9] = [2, 5, 6, 7, 8, 12, 13, 14, 15];

struct OfMask {
    by_table: [Py<PyAny>; 3],
    /// They have all columns: what is absent is None.
    are_of_every: bool,
}

pub struct Writes {
    statements: Vec<OfMask>,
    /// Mask → which of the statements.
    by_mask: HashMap<u32, u32>,
    /// The mask asked for last: neighbours mostly have the same.
    last: Option<(u32, u32)>,
    errors: Py<PyAny>,
    known: Known,
}

impl Writes {
    pub fn new(errors: Py<PyAny>) -> Self {
        Writes { statements: Vec::new(), by_mask: HashMap::new(), last: None, errors, known: Known::new() }
    }

    pub fn know(&mut self, mask: u32, by_table: [Py<PyAny>; 3], are_of_every: bool) {
        self.by_mask.insert(mask, self.statements.len() as u32);
        self.statements.push(OfMask { by_table, are_of_every });
    }

    /// Which statements are for that mask; None: they are not known.
    #[inline]
    pub fn of_mask(&mut self, mask: u32) -> Option<u32> {
        match self.last {
            Some((last, number)) if last == mask => Some(number),
            _ => {
                let number = *self.by_mask.get(&mask)?;
                self.last = Some((mask, number));
                Some(number)
            }
        }
    }

    /// Of rows in these data.
    pub fn of<'py>(&mut self, py: Python<'py>, request: &Request, data: &[Py<PyBytes>]) -> PyResult<Bound<'py, PyList>> {
        let key: Vec<Bound<'py, PyAny>> = match &request.partition {
            Partition::Session(id, hour) => vec![self.known.id(py, id), hour.into_pyobject(py)?.into_any()],
            Partition::Content(id, day, bucket) => {
                vec![self.known.id(py, id), day.into_pyobject(py)?.into_any(), bucket.into_pyobject(py)?.into_any()]
            }
            Partition::Profile(id, day) => vec![self.known.id(py, id), day.into_pyobject(py)?.into_any()],
            Partition::Errors(edge, hour, bucket) => vec![
                self.known.text(py, edge),
                hour.into_pyobject(py)?.into_any(),
                bucket.into_pyobject(py)?.into_any(),
            ],
        };
        let mut writes = Vec::with_capacity(request.rows.len());
        for place in &request.rows {
            let bytes = data[place.data as usize].as_bytes(py);
            if let Some(tuple) = bytes.get(place.begin..place.end).and_then(Tuple::read) {
                writes.push(self.one(py, &request.partition, &key, &tuple, place.of_mask)?);
            }
        }
        assert_eq!(writes.len(), request.rows.len());
        PyList::new(py, writes)
    }

    fn one<'py>(
        &mut self,
        py: Python<'py>,
        partition: &Partition,
        key: &[Bound<'py, PyAny>],
        tuple: &Tuple<'_>,
        of_mask: u32,
    ) -> PyResult<Bound<'py, PyTuple>> {
        const EVERY: [usize; OPTIONAL] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
        let of_mask = &self.statements[of_mask as usize];
        let known = &mut self.known;
        let mut row = Vec::with_capacity(9 + OPTIONAL);
        row.extend_from_slice(key);
        row.push(tuple.occurred_us.into_pyobject(py)?.into_any());
        row.push(dashed(py, tuple.event).into_any());
        let received = tuple.received_us.into_pyobject(py)?.into_any();
        let test = PyBool::new(py, tuple.is_test).to_owned().into_any();
        let (statement, optional, with_absent): (_, &[usize], _) = match partition {
            Partition::Session(..) => {
                row.extend([known.id(py, tuple.content), received, known.text(py, tuple.kind), test]);
                (&of_mask.by_table[0], &EVERY, of_mask.are_of_every)
            }
            Partition::Content(..) => {
                row.extend([known.id(py, tuple.session), received, known.text(py, tuple.kind), test]);
                (&of_mask.by_table[1], &EVERY, of_mask.are_of_every)
            }
            Partition::Profile(..) => {
                let (kind, content) = (known.text(py, tuple.kind), known.id(py, tuple.content));
                row.extend([kind, content, known.id(py, tuple.session), test, received]);
                (&of_mask.by_table[2], &OF_PROFILE, of_mask.are_of_every)
            }
            Partition::Errors(..) => {
                row.extend([known.id(py, tuple.content), known.id(py, tuple.session), test, received]);
                (&self.errors, &OF_ERRORS, true)
            }
        };
        for &index in optional {
            match known.optional(py, tuple, index)? {
                Some(value) => row.push(value),
                None if with_absent => row.push(py.None().into_bound(py)),
                None => {}
            }
        }
        PyTuple::new(py, [statement.bind(py).clone(), PyTuple::new(py, row)?.into_any()])
    }
}
