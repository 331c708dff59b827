//! The core of streamverse-ingest in Rust: an accelerator, never an author.
//!
//! Every function here has a twin in Python, which is the reference: without this module the gateway runs on the twins,
//! and with it no byte on disk and no answer is another. Tests feed both.
//!
//! Decoding may only vouch, never refuse. `decode` takes a body of which nothing is wrong and nothing unusual, and makes
//! the frame bodies that the twin makes; for any other it returns None, and the twin does the whole body. So verdicts,
//! codes and messages have one author, and what is not sure can always be left to it. Vouched for are:
//!
//!   shapes      envelope (beginning with `events` or `sent_at`), array, one object, lines; at least one event; UTF-8
//!               without a byte order mark; JSON's white space
//!   names       of the vocabulary, without escapes, each once; null is absent
//!   integers    digits: no sign, point or exponent
//!   position, duration    digits, or digits with a point and at most 40 behind it; no sign, no exponent
//!   texts       also with escapes, but no lone surrogate and no NUL
//!   uuids       without escapes: 8-4-4-4-12 or 32 digits, either case
//!   times       RFC 3339 without escapes, written in the years 1970–2100; milliseconds as integers
//!   event ids   absent ones are derived, when `sequence` or `position` is there
//!   clocks      broken ones too; a time outside its window is the twin's
//!   metadata    see decode/metadata.rs
//!
//! The interpreter's lock is held: bodies are small. Above 64 KiB it is let go. A panic is a bug, and to the caller a
//! None of `decode`, a RuntimeError of the others.

use std::panic::{catch_unwind, AssertUnwindSafe};

use pyo3::exceptions::{PyIndexError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple, PyType};

mod committing;
mod cql;
mod decode;
mod door;
mod event;
mod fingerprint;
mod frame;
mod framing;
mod line;
mod quality;
mod run;
mod sign;
mod staged;
mod watch;

const SCHEMA_PLAYBACK: u16 = 1;

fn guarded<T>(work: impl FnOnce() -> T) -> PyResult<T> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| PyRuntimeError::new_err("a bug in the Rust core"))
}

/// events, size_bytes, forms, received_us, sane_us, totals, months, rejected_by_code: an ingest.spool.run.Outline.
type Outline = (
    u64,
    usize,
    Vec<(u8, u16, u8)>,
    i64,
    Option<(i64, i64)>,
    (u64, u64, u64, u64, u64),
    Vec<(u32, (u64, u64))>,
    Vec<u64>,
);

/// Twin: the frames of an ingest.spool.run.Run, which stay in the bytes that they were read from.
#[pyclass(frozen)]
struct Run {
    data: Py<PyBytes>,
    run: run::Run,
}

#[pymethods]
impl Run {
    fn __len__(&self) -> usize {
        self.run.frames.len()
    }

    /// All of them, or those at `numbers`, as objects; `types`: Frame, MonthTotals, Totals.
    #[pyo3(signature = (types, numbers=None))]
    fn frames<'py>(
        &self,
        py: Python<'py>,
        types: Types<'py>,
        numbers: Option<Vec<usize>>,
    ) -> PyResult<Bound<'py, PyList>> {
        let data = self.data.as_bytes(py);
        let frames = PyList::empty(py);
        let mut add = |one: &frame::Whole| frames.append(frame_object(py, &types, one, data)?);
        match numbers {
            None => self.run.frames.iter().try_for_each(&mut add)?,
            Some(numbers) => {
                for number in numbers {
                    add(self.run.frames.get(number).ok_or_else(|| PyIndexError::new_err(number))?)?;
                }
            }
        }
        Ok(frames)
    }

    /// By month: rows, and the sum of their hashes modulo 2^64.
    fn sums(&self) -> PyResult<Vec<(u32, u64, u64)>> {
        guarded(|| self.run.sums())
    }

    /// Their tuples, one behind the other, whole frames, a little more than `size_bytes` at a time.
    fn pieces<'py>(&self, py: Python<'py>, size_bytes: usize) -> PyResult<Bound<'py, PyList>> {
        let data = self.data.as_bytes(py);
        let (pieces, mut begin) = (PyList::empty(py), 0);
        while begin < self.run.frames.len() {
            let (piece, piece_bytes) = self.run.piece(begin, size_bytes.max(1));
            begin = piece.end;
            let rows = PyBytes::new_with(py, piece_bytes, |rows| guarded(|| self.run.gather(data, piece, rows)))?;
            pieces.append(rows)?;
        }
        Ok(pieces)
    }

    /// Twin: storage.stage.staging.Staging._lines. The lines of each frame of CMCD from the one numbered `sequence` on, as
    /// objects of `line_type`; `origin`, of a frame's number, count of lines and class, makes what they have in common.
    /// Raises ValueError for what is no whole tuple.
    fn lines<'py>(
        &self,
        line_type: &Bound<'py, PyType>,
        sequence: u64,
        origin: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        let (py, found) = (line_type.py(), PyList::empty(line_type.py()));
        let (data, mut lines) = (self.data.as_bytes(py), line::Lines::new(line_type)?);
        guarded(|| {
            let behind = |one: &&frame::Whole| one.head.kind == run::KIND_CMCD && one.head.sequence >= sequence;
            self.run.frames.iter().filter(behind).try_for_each(|one| found.append(lines.of(one, data, origin)?))
        })??;
        Ok(found)
    }
}

/// Frame, MonthTotals, Totals.
type Types<'py> = (Bound<'py, PyType>, Bound<'py, PyType>, Bound<'py, PyType>);

fn frame_object<'py>(
    py: Python<'py>,
    (frame_type, month_totals_type, totals_type): &Types<'py>,
    one: &frame::Whole,
    data: &[u8],
) -> PyResult<Bound<'py, PyAny>> {
    let make = py.get_type::<PyTuple>().getattr("__new__")?; // of a NamedTuple's class and a tuple: as its _make does
    let head = &one.head;
    let (ends_table, rows) = one.payload(data);
    let fields = [
        head.kind.into_pyobject(py)?.into_any(),
        head.flags.into_pyobject(py)?.into_any(),
        head.schema.into_pyobject(py)?.into_any(),
        head.count.into_pyobject(py)?.into_any(),
        head.sequence.into_pyobject(py)?.into_any(),
        head.received_at_us.into_pyobject(py)?.into_any(),
        head.month.into_pyobject(py)?.into_any(),
        head.rows_hash.into_pyobject(py)?.into_any(),
        make.call1((month_totals_type, PyTuple::new(py, head.month_totals)?))?,
        make.call1((totals_type, PyTuple::new(py, head.totals)?))?,
        PyTuple::new(py, one.rejected_by_code(data).collect::<Vec<_>>())?.into_any(),
        PyBytes::new(py, ends_table).into_any(),
        PyBytes::new(py, rows).into_any(),
    ];
    make.call1((frame_type, PyTuple::new(py, fields)?))
}

/// Twin: ingest.spool.window.Window.run. Frames numbered from `sequence` on to below `until`, one behind the other from
/// `at` on, until they are `size_bytes`; what they say together, and where the next one begins. It stops early at
/// whatever is no such frame; None when that is the first.
#[pyfunction]
fn read_run(
    py: Python<'_>,
    data: Py<PyBytes>,
    at: usize,
    seed: u64,
    sequence: u64,
    until: u64,
    size_bytes: i64,
) -> PyResult<Option<(Run, Outline, usize)>> {
    let bytes = data.as_bytes(py);
    let found = guarded(|| {
        let run = run::Run::read(bytes, at, seed, sequence, until, size_bytes);
        run.outline(bytes).map(|outline| (run, outline))
    })?;
    let Some((run, outline)) = found else {
        return Ok(None);
    };
    let after = run.frames.last().map_or(at, frame::Whole::after);
    let months = outline.months.into_iter().map(|(month, totals)| (month, totals.into())).collect();
    let outline = (
        outline.events,
        outline.size_bytes,
        outline.forms,
        outline.received_us,
        outline.sane_us,
        outline.totals.into(),
        months,
        outline.rejected_by_code,
    );
    Ok(Some((Run { data, run }, outline, after)))
}

/// Twin: storage.redis.sign.Gathering, without its counts of frames.
#[pyclass]
struct Signs(sign::Signs);

#[pymethods]
impl Signs {
    #[new]
    fn new(now_us: i64, memory_us: i64) -> Self {
        Signs(sign::Signs::new(now_us, memory_us))
    }

    /// Takes the tuples of a frame in, of players of one class; how many were tests. Raises ValueError for what is no
    /// whole tuple.
    fn add(&mut self, rows: &[u8], ends_table: &[u8], heartbeat: u8) -> PyResult<u32> {
        guarded(|| self.0.add(rows, ends_table, heartbeat))?.map_err(|_| PyValueError::new_err("a tuple cut short"))
    }

    /// Takes frames of a run in, from the one at `begin` on, until there are `entries_max` entries: until which one, and
    /// how many rows, signals, and tests of both. It stops before a frame whose schema it does not know. Raises
    /// ValueError for what is no whole tuple.
    fn add_run(
        &mut self,
        py: Python<'_>,
        run: &Run,
        begin: usize,
        entries_max: usize,
    ) -> PyResult<(usize, u64, u64, u64)> {
        let data = run.data.as_bytes(py);
        let taken = guarded(|| self.0.add_run(&run.run, data, begin, entries_max))?
            .map_err(|_| PyValueError::new_err("a tuple cut short"))?;
        Ok((taken.until, taken.rows, taken.signals, taken.tests))
    }

    fn entries(&self) -> usize {
        self.0.entries()
    }

    /// Views and sessions.
    fn packed<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let (views, sessions) = guarded(|| self.0.packed())?;
        Ok((PyBytes::new(py, &views), PyBytes::new(py, &sessions)))
    }
}

/// Twin: storage.watch.Watching.
#[pyclass]
struct Watching(watch::Watching);

#[pymethods]
impl Watching {
    #[new]
    fn new() -> Self {
        Watching(watch::Watching::default())
    }

    /// Takes the tuples of a frame in. Raises ValueError for what is no whole tuple.
    fn add(&mut self, rows: &[u8], ends_table: &[u8]) -> PyResult<()> {
        guarded(|| self.0.add(rows, ends_table))?.map_err(|_| PyValueError::new_err("a tuple cut short"))
    }

    /// Takes the frames of a run in, and says how many: it stops before one whose schema it does not know. Raises
    /// ValueError for what is no whole tuple.
    fn add_run(&mut self, py: Python<'_>, run: &Run) -> PyResult<usize> {
        let data = run.data.as_bytes(py);
        guarded(|| self.0.add_run(&run.run, data))?.map_err(|_| PyValueError::new_err("a tuple cut short"))
    }

    fn packed<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &guarded(|| self.0.packed())?))
    }
}

/// Content, platform, cdn_edge, country.
type Place<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>, Bound<'py, PyBytes>, Bound<'py, PyBytes>);

/// Twin: storage.qoe.sign.read_frames. Signs of followed sessions, packed; their places; how many were too old; before
/// which frame it stopped because of its schema. Raises ValueError for what is no whole tuple.
#[pyfunction]
fn quality_signs<'py>(
    py: Python<'py>,
    run: &Run,
    zero_bits: u32,
    memory_us: i64,
) -> PyResult<(Bound<'py, PyBytes>, Vec<Place<'py>>, u64, usize)> {
    let data = run.data.as_bytes(py);
    let quality = guarded(|| quality::Quality::read(&run.run, data, zero_bits, memory_us))?
        .map_err(|_| PyValueError::new_err("a tuple cut short"))?;
    let places = quality.places.iter().map(|place| place.map(|value| PyBytes::new(py, value)).into()).collect();
    Ok((PyBytes::new(py, &quality.packed()), places, quality.old, quality.until))
}

/// Twin: the rows_hash and payload of storage.stage.frames.body_of; None where it is left to it.
#[pyfunction]
fn staged_rows<'py>(verdicts: &Bound<'py, PyList>) -> PyResult<Option<(u64, Bound<'py, PyBytes>)>> {
    guarded(|| staged::rows(verdicts))?
}

/// Twin: storage.postgres.fingerprint.Generations.
#[pyclass]
struct Generations(fingerprint::Generations);

#[pymethods]
impl Generations {
    #[new]
    fn new(generation_max: usize) -> Self {
        Generations(fingerprint::Generations::new(generation_max))
    }

    /// Suspects these 16-byte ids for ever; how many there are.
    fn always(&mut self, ids: Vec<Bound<'_, PyBytes>>) -> PyResult<usize> {
        guarded(|| self.0.always(ids.iter().map(|id| id.as_bytes())))
    }

    /// Whether an id of a frame was seen before, or comes twice in it. All are seen from now on.
    fn suspect(&mut self, rows: &[u8], ends_table: &[u8]) -> PyResult<bool> {
        guarded(|| self.0.suspect(rows, ends_table))?.ok_or_else(|| PyValueError::new_err("a tuple cut short"))
    }

    /// The same of a run's frames of playback: those of which nothing is suspected, the run itself if it is all of them;
    /// the numbers of those that are suspected; of those of broken clocks, whatever is suspected; of those of ad events.
    #[allow(clippy::type_complexity)]
    fn divide<'py>(
        &mut self,
        run: &Bound<'py, Run>,
    ) -> PyResult<(Bound<'py, Run>, Vec<usize>, Vec<usize>, Vec<usize>, u64)> {
        let (py, own) = (run.py(), run.get());
        let data = own.data.as_bytes(py);
        let divided = guarded(|| own.run.divided(data, |rows, ends_table| self.0.suspect(rows, ends_table)))?;
        let (plain, suspected, broken, ads, lines) = divided.ok_or_else(|| PyValueError::new_err("a tuple cut short"))?;
        let plain = if plain.frames.len() == own.run.frames.len() {
            run.clone()
        } else {
            Bound::new(py, Run { data: own.data.clone_ref(py), run: plain })?
        };
        Ok((plain, suspected, broken, ads, lines))
    }

    fn keep(&mut self) -> PyResult<()> {
        guarded(|| self.0.keep())
    }

    fn forget(&mut self) -> PyResult<()> {
        guarded(|| self.0.forget())
    }
}

#[pymodule]
fn streamverse_ingest_native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("INTERFACE", 9)?;
    module.add_function(wrap_pyfunction!(door::decode_body, module)?)?;
    module.add_function(wrap_pyfunction!(read_run, module)?)?;
    module.add_function(wrap_pyfunction!(quality_signs, module)?)?;
    module.add_function(wrap_pyfunction!(staged_rows, module)?)?;
    module.add_class::<door::Door>()?;
    module.add_class::<door::Framing>()?;
    module.add_class::<door::Committing>()?;
    module.add_class::<Run>()?;
    module.add_class::<Signs>()?;
    module.add_class::<Watching>()?;
    module.add_class::<cql::CqlPlacing>()?;
    module.add_class::<Generations>()
}
