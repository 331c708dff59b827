//! Lines of CMCD as the session stage holds them: ingest/cmcd.py's tuples, and the objects that judge them.
//!
//! Twin: storage.stage.line.Line. Whatever is no plain tuple is left to it.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyList, PyTuple, PyType};

use crate::event::POSTGRES_EPOCH_US;
use crate::frame::{tuples, Whole};

const COUNT: usize = 26;
const HEARTBEAT_SHIFT: u8 = 4;
const NONE: i32 = -1;

pub const SESSION: usize = 0;
pub const TARGET: usize = 1;
pub const OWNER: usize = 2;
pub const SEQUENCE: usize = 3;
pub const EVENT: usize = 4;
pub const OCCURRED_AT: usize = 5;
pub const RECEIVED_AT: usize = 6;
pub const TEST: usize = 7;
const STATE: usize = 8;
const CONTENT: usize = 9;
pub const BITRATE: usize = 10;
const STALL: usize = 11;
const STARTUP: usize = 12;
pub const POSITION: usize = 13;
pub const RATE: usize = 14;
pub const ERROR_CODE: usize = 15;
pub const CDN_EDGE: usize = 16;
pub const QUALITY: usize = 17;
pub const CUSTOM_EVENT: usize = 18;
pub const PROFILE: usize = 19;
pub const DEVICE: usize = 20;
pub const PLAYER: usize = 22;
pub const METADATA: usize = 25;

/// A tuple whose columns are where they should be, and as long: what the door writes.
pub struct Fields<'a> {
    raw: &'a [u8],
    /// Where each begins, its length included; the last one is the end.
    begins: [usize; COUNT + 1],
}

impl<'a> Fields<'a> {
    /// None: the twin has to look.
    pub fn of(raw: &'a [u8]) -> Option<Self> {
        if raw.first_chunk()? != &(COUNT as u16).to_be_bytes() {
            return None;
        }
        let (mut begins, mut at) = ([0; COUNT + 1], 2);
        for begin in &mut begins[..COUNT] {
            *begin = at;
            let length: [u8; 4] = *raw.get(at..)?.first_chunk()?;
            at += 4;
            match i32::from_be_bytes(length) {
                -1 => {}
                bytes @ 0..=0xFFFF => at += bytes as usize,
                _ => return None,
            }
        }
        begins[COUNT] = at;
        let fields = Fields { raw, begins };
        let is_sized = |column: usize, bytes: usize| fields.bytes(column) == bytes;
        let is_sized_or_null = |column: usize, bytes: usize| fields.is_null(column) || is_sized(column, bytes);
        let is_plain = at == raw.len()
            && [TARGET, SEQUENCE, OCCURRED_AT, RECEIVED_AT].iter().all(|&column| is_sized(column, 8))
            && is_sized(TEST, 1)
            && [BITRATE, STALL, STARTUP, RATE].iter().all(|&column| is_sized_or_null(column, 4))
            && is_sized_or_null(POSITION, 8)
            && ![SESSION, OWNER, EVENT].iter().any(|&column| fields.is_null(column))
            && fields.bytes(STATE) < 256
            && fields.bytes(EVENT) < 256;
        is_plain.then_some(fields)
    }

    fn is_null(&self, column: usize) -> bool {
        self.raw[self.begins[column]] != 0
    }

    fn bytes(&self, column: usize) -> usize {
        self.begins[column + 1] - self.begins[column] - 4
    }

    /// Columns from one to before another, each with its length.
    pub fn between(&self, column: usize, behind: usize) -> &'a [u8] {
        &self.raw[self.begins[column]..self.begins[behind]]
    }

    /// None: NULL.
    pub fn value(&self, column: usize) -> Option<&'a [u8]> {
        (!self.is_null(column)).then(|| &self.raw[self.begins[column] + 4..self.begins[column + 1]])
    }

    /// Of a column that is never NULL.
    pub fn text(&self, column: usize) -> &'a [u8] {
        self.value(column).unwrap_or_default()
    }

    /// Of 8 bytes; 0 for NULL.
    pub fn long(&self, column: usize) -> i64 {
        self.text(column).first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes))
    }

    /// Of 4 bytes.
    pub fn number(&self, column: usize) -> Option<i32> {
        self.text(column).first_chunk().map(|bytes| i32::from_be_bytes(*bytes))
    }
}

/// A value that the line before had, too, as the object that it was: lines of a frame are much alike.
struct Same<'a, 'py> {
    of: Option<&'a [u8]>,
    object: Bound<'py, PyAny>,
}

impl<'a, 'py> Same<'a, 'py> {
    fn new(py: Python<'py>) -> Self {
        Same { of: None, object: py.None().into_bound(py) }
    }

    fn get(&mut self, py: Python<'py>, value: Option<&'a [u8]>) -> &Bound<'py, PyAny> {
        if self.of != value {
            self.of = value;
            self.object = value.map_or_else(|| py.None().into_bound(py), |bytes| PyBytes::new(py, bytes).into_any());
        }
        &self.object
    }
}

/// Makes the lines of frames.
pub struct Lines<'a, 'py> {
    py: Python<'py>,
    line_type: &'a Bound<'py, PyType>,
    new: Bound<'py, PyAny>,
    key: Option<(&'a [u8], &'a [u8], i64)>,
    key_object: Bound<'py, PyAny>,
    event: Same<'a, 'py>,
    state: Same<'a, 'py>,
    content: Same<'a, 'py>,
}

impl<'a, 'py> Lines<'a, 'py> {
    pub fn new(line_type: &'a Bound<'py, PyType>) -> PyResult<Self> {
        let py = line_type.py();
        Ok(Lines {
            py,
            line_type,
            new: py.get_type::<PyAny>().getattr(intern!(py, "__new__"))?,
            key: None,
            key_object: py.None().into_bound(py),
            event: Same::new(py),
            state: Same::new(py),
            content: Same::new(py),
        })
    }

    /// Those of a frame; `origin` is made for it.
    pub fn of(&mut self, one: &Whole, data: &'a [u8], origin: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let (py, lines) = (self.py, PyList::empty(self.py));
        let heartbeat = (one.head.flags >> HEARTBEAT_SHIFT).into_pyobject(py)?;
        let origin = origin.call1((one.head.sequence, one.head.count, &heartbeat))?;
        let (ends_table, rows) = one.payload(data);
        for row in tuples(rows, ends_table) {
            let raw = row.unwrap_or_default();
            lines.append(match Fields::of(raw) {
                Some(fields) => self.line(&fields, &origin, &heartbeat)?,
                None => self.line_type.call1((PyBytes::new(py, raw), &origin))?,
            })?;
        }
        Ok(lines)
    }

    fn line(
        &mut self,
        fields: &Fields<'a>,
        origin: &Bound<'py, PyAny>,
        heartbeat: &Bound<'py, PyInt>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = self.py;
        let key = (fields.text(OWNER), fields.text(SESSION), fields.long(TARGET));
        if self.key != Some(key) {
            self.key = Some(key);
            let (owner, session) = (PyBytes::new(py, key.0).into_any(), PyBytes::new(py, key.1).into_any());
            self.key_object = PyTuple::new(py, [owner, session, key.2.into_pyobject(py)?.into_any()])?.into_any();
        }
        let time_us = |column: usize| fields.long(column).checked_add(POSTGRES_EPOCH_US);
        let (Some(occurred_us), Some(received_us)) = (time_us(OCCURRED_AT), time_us(RECEIVED_AT)) else {
            return self.line_type.call1((PyBytes::new(py, fields.raw), origin));
        };
        let number = |column: usize| fields.number(column).unwrap_or(NONE);
        let line = self.new.call1((self.line_type,))?;
        line.setattr(intern!(py, "raw"), PyBytes::new(py, fields.raw))?;
        line.setattr(intern!(py, "origin"), origin)?;
        line.setattr(intern!(py, "heartbeat"), heartbeat)?;
        line.setattr(intern!(py, "key"), &self.key_object)?;
        line.setattr(intern!(py, "sequence"), fields.long(SEQUENCE))?;
        line.setattr(intern!(py, "event"), self.event.get(py, fields.value(EVENT)))?;
        line.setattr(intern!(py, "moments"), fields.begins[OCCURRED_AT])?;
        line.setattr(intern!(py, "occurred_us"), occurred_us)?;
        line.setattr(intern!(py, "received_us"), received_us)?;
        line.setattr(intern!(py, "state"), self.state.get(py, fields.value(STATE)))?;
        line.setattr(intern!(py, "content"), self.content.get(py, fields.value(CONTENT)))?;
        line.setattr(intern!(py, "bitrate_kbps"), number(BITRATE))?;
        line.setattr(intern!(py, "stall_ms"), number(STALL))?;
        line.setattr(intern!(py, "startup_ms"), number(STARTUP))?;
        line.setattr(intern!(py, "behind"), fields.begins[POSITION])?;
        Ok(line)
    }
}
