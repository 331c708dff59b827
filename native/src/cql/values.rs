//! What a driver of CQL binds, made of a tuple's parts: uuids as text, times since 1970, bytes of a text.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use xxhash_rust::xxh3::xxh3_64;

use super::tuple::{value_of, Id, Kind, Tuple, KINDS};

const PLACES: usize = 1_024;
const KEPT_MAX_BYTES: usize = 40;

struct Kept {
    raw: Vec<u8>,
    is_id: bool,
    object: Py<PyBytes>,
}

/// Objects of values that come again and again (sessions, contents, qualities, edges), each at a place by its hash.
pub struct Known(Vec<Option<Kept>>);

impl Known {
    pub fn new() -> Self {
        Known((0..PLACES).map(|_| None).collect())
    }

    #[inline]
    pub fn id<'py>(&mut self, py: Python<'py>, id: &Id) -> Bound<'py, PyAny> {
        self.of(py, id, true)
    }

    #[inline]
    pub fn text<'py>(&mut self, py: Python<'py>, text: &[u8]) -> Bound<'py, PyAny> {
        if text.len() > KEPT_MAX_BYTES {
            return PyBytes::new(py, text).into_any();
        }
        self.of(py, text, false)
    }

    /// An optional column that is there.
    #[inline]
    pub fn optional<'py>(
        &mut self,
        py: Python<'py>,
        tuple: &Tuple<'_>,
        index: usize,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(bytes) = tuple.optional[index] else { return Ok(None) };
        Ok(Some(match KINDS[index] {
            Kind::Text => self.text(py, bytes),
            Kind::Uuid => self.of(py, bytes, true),
            kind => value_of(kind, bytes).into_pyobject(py)?.into_any(),
        }))
    }

    #[inline]
    fn of<'py>(&mut self, py: Python<'py>, raw: &[u8], is_id: bool) -> Bound<'py, PyAny> {
        let place = &mut self.0[xxh3_64(raw) as usize % PLACES];
        if let Some(kept) = place {
            if kept.is_id == is_id && kept.raw == raw {
                return kept.object.bind(py).clone().into_any();
            }
        }
        let object = match raw.first_chunk() {
            Some(id) if is_id => dashed(py, id),
            _ => PyBytes::new(py, raw),
        };
        *place = Some(Kept { raw: raw.to_vec(), is_id, object: object.clone().unbind() });
        object.into_any()
    }
}

/// 16 bytes as their text of 36 characters.
#[inline]
pub fn dashed<'py>(py: Python<'py>, id: &Id) -> Bound<'py, PyBytes> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (index, byte) in id.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            at += 1;
        }
        text[at] = DIGITS[usize::from(byte >> 4)];
        text[at + 1] = DIGITS[usize::from(byte & 15)];
        at += 2;
    }
    PyBytes::new(py, &text)
}
