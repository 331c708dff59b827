//! What the door calls: a request's body becomes frame bodies, or frames of the incarnation that is being written.

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::committing;
use crate::decode::{self, Bundle, Form, Request};
use crate::framing::{self, Rows};
use crate::{guarded, SCHEMA_PLAYBACK};

const DETACHED_MIN_BYTES: usize = 64 * 1024;

/// kind, flags, schema, month, count, rows_hash, payload: an ingest.batch.FrameBody.
type Body<'py> = (u8, u8, u16, u32, u32, u64, Bound<'py, PyBytes>);

/// What does not change from one request to the next.
#[pyclass(frozen)]
pub struct Door {
    past_us: i64,
    future_us: i64,
    events_max: usize,
    values_max: usize,
    owner: Vec<u8>,
    heartbeat: u8,
}

#[pymethods]
impl Door {
    #[new]
    fn new(
        past_us: i64,
        future_us: i64,
        events_max: usize,
        values_max: usize,
        owner: Vec<u8>,
        heartbeat: u8,
    ) -> Self {
        Door { past_us, future_us, events_max, values_max, owner, heartbeat }
    }
}

impl Door {
    /// None: the twin has to look.
    fn decode(
        &self,
        py: Python<'_>,
        body: &[u8],
        media_type: &str,
        received_us: i64,
        country: Option<&str>,
    ) -> Option<Bundle> {
        let form = match media_type {
            "json" => Form::Json,
            "ndjson" => Form::Lines,
            _ => Form::Either,
        };
        let request = Request {
            received_us,
            past_us: self.past_us,
            future_us: self.future_us,
            events_max: self.events_max,
            values_max: self.values_max,
            owner: &self.owner,
            heartbeat: self.heartbeat,
            country,
        };
        let work = || guarded(|| decode::decode(body, form, &request));
        let outcome = if body.len() > DETACHED_MIN_BYTES { py.detach(work) } else { work() };
        outcome.ok()?.ok()
    }
}

/// Twin: ingest.decode.json. (events, repeats, frame bodies), or None when the twin has to look.
#[pyfunction]
#[pyo3(name = "decode")]
pub fn decode_body<'py>(
    py: Python<'py>,
    door: &Door,
    body: &[u8],
    media_type: &str,
    received_at_us: i64,
    country: Option<&str>,
) -> PyResult<Option<(usize, usize, Bound<'py, PyList>)>> {
    let Some(bundle) = door.decode(py, body, media_type, received_at_us, country) else {
        return Ok(None);
    };
    let bodies = PyList::empty(py);
    for one in &bundle.bodies {
        let payload = PyBytes::new_with(py, one.payload_bytes(), |payload| guarded(|| bundle.write(one, payload)))?;
        bodies.append((one.kind, one.flags, SCHEMA_PLAYBACK, one.month, one.count(), one.rows_hash, payload))?;
    }
    Ok(Some((bundle.received, bundle.duplicates, bodies)))
}

/// Twin: ingest.spool.framing.Framing.
#[pyclass]
pub struct Framing(framing::Framing);

/// sequence, totals, months, rejected by code.
type State = (u64, framing::Totals, Vec<(u32, u64, u64)>, Vec<u64>);

#[pymethods]
impl Framing {
    #[new]
    fn new(seed: u64, frame_max_bytes: usize) -> Self {
        Framing(framing::Framing::new(seed, frame_max_bytes))
    }

    fn note(&mut self, received: u64, duplicates: u64, rejected_by_code: Vec<(u16, u64)>) -> PyResult<()> {
        guarded(|| self.0.note(received, duplicates, &rejected_by_code))
    }

    /// Raises ValueError for what no frame can hold.
    fn add(&mut self, body: Body<'_>, received_at_us: i64) -> PyResult<()> {
        let (kind, flags, schema, month, count, rows_hash, payload) = body;
        let payload = payload.as_bytes();
        let rows = Rows { kind, flags, schema, month, count, rows_hash, payload_bytes: payload.len() };
        if !self.0.fits(&rows) {
            return Err(PyValueError::new_err("beyond what a frame can hold"));
        }
        guarded(|| self.0.add(&rows, received_at_us, |to| to.copy_from_slice(payload)))
    }

    /// `decode`, and `add` for each of its bodies: events and repeats, or None when the twin has to look.
    fn take_in(
        &mut self,
        py: Python<'_>,
        door: &Door,
        body: &[u8],
        media_type: &str,
        received_at_us: i64,
        country: Option<&str>,
    ) -> PyResult<Option<(usize, usize)>> {
        let Some(bundle) = door.decode(py, body, media_type, received_at_us, country) else {
            return Ok(None);
        };
        let rows_of = |one: &decode::Body| Rows {
            kind: one.kind,
            flags: one.flags,
            schema: SCHEMA_PLAYBACK,
            month: one.month,
            count: one.count() as u32,
            rows_hash: one.rows_hash,
            payload_bytes: one.payload_bytes(),
        };
        if !bundle.bodies.iter().all(|one| self.0.fits(&rows_of(one))) {
            return Ok(None);
        }
        guarded(|| {
            let repeats = bundle.duplicates as u64;
            self.0.note(repeats, repeats, &[]);
            for one in &bundle.bodies {
                self.0.add(&rows_of(one), received_at_us, |payload| bundle.write(one, payload));
            }
        })?;
        Ok(Some((bundle.received, bundle.duplicates)))
    }

    /// The frames since the last call, one behind the other.
    fn take_out<'py>(&mut self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let frames = PyBytes::new(py, self.0.frames());
        self.0.clear();
        frames
    }

    fn state(&self) -> State {
        let state = self.0.state();
        (state.sequence, state.totals, state.months, state.rejected_by_code)
    }
}

/// Twin: ingest.spool.commit_thread, of commits alone.
#[pyclass]
pub struct Committing(committing::Committing);

#[pymethods]
impl Committing {
    #[new]
    fn new() -> PyResult<Self> {
        Ok(Committing(committing::Committing::begin()?))
    }

    /// Of what is readable while there are outcomes.
    fn fileno(&self) -> i32 {
        self.0.fileno()
    }

    fn submit(&self, path: &str, data: &[u8]) -> PyResult<()> {
        if guarded(|| self.0.submit(path, data))? {
            return Ok(());
        }
        Err(PyRuntimeError::new_err("it has ended"))
    }

    /// 0 or an errno; None when there is no outcome.
    fn take(&mut self) -> PyResult<Option<i32>> {
        guarded(|| self.0.take())
    }

    fn end(&mut self, py: Python<'_>) {
        py.detach(|| self.0.end());
    }
}
