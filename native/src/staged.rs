//! What became of lines of CMCD, as the tuples of a frame. Twin: storage.stage.row.tuple_of, of each.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use xxhash_rust::xxh3::xxh3_64;

use crate::decode::uuid;
use crate::event::POSTGRES_EPOCH_US;
use crate::line::{
    Fields, BITRATE, CDN_EDGE, CUSTOM_EVENT, DEVICE, ERROR_CODE, EVENT, METADATA, OCCURRED_AT, OWNER, PLAYER, POSITION,
    PROFILE, QUALITY, RATE, SEQUENCE, SESSION, TARGET, TEST,
};

/// storage/stage/identity.py
const NAMESPACE: [u8; 16] = 0x8a4f_0f5b_61c9_4dd0_b1f2_7c0e_93d5_a6e4_u128.to_be_bytes();
const SESSION_KIND: u8 = 1;
const CONTENT_KIND: u8 = 2;
const EVENT_KIND: u8 = 3;
/// storage/stage/row.py
const POSITION_MAX_MS: u64 = 100_000_000_000;
const COLUMN_COUNT: u16 = 24;
const NULL: [u8; 4] = [0xFF; 4];

/// What a verdict says of its line.
struct Verdict<'a> {
    fields: Fields<'a>,
    kind: &'a [u8],
    is_signal: bool,
    content: &'a [u8],
    buffer_ms: i64,
    startup_ms: i64,
}

/// A name, and the id that it becomes: those of the row before are mostly this one's.
#[derive(Default)]
struct Named<'a> {
    owner: &'a [u8],
    text: &'a [u8],
    id: Option<[u8; 16]>,
    is_uuid: bool,
}

impl<'a> Named<'a> {
    fn of(&mut self, kind: u8, owner: &'a [u8], text: &'a [u8]) -> [u8; 16] {
        if let (Some(id), true) = (self.id, self.owner == owner && self.text == text) {
            return id;
        }
        let told = uuid(text).ok();
        let id = told.unwrap_or_else(|| uuid5(kind, owner, &[text]));
        *self = Named { owner, text, id: Some(id), is_uuid: told.is_some() };
        id
    }
}

fn uuid5(kind: u8, owner: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    let mut sha1 = sha1_smol::Sha1::new();
    sha1.update(&NAMESPACE);
    sha1.update(&[1, kind]);
    sha1.update(&(owner.len() as u16).to_be_bytes());
    sha1.update(owner);
    for part in parts {
        sha1.update(part);
    }
    let mut id = [0; 16];
    id.copy_from_slice(&sha1.digest().bytes()[..16]);
    id[6] = id[6] & 0x0F | 0x50;
    id[8] = id[8] & 0x3F | 0x80;
    id
}

#[derive(Default)]
struct Rows<'a> {
    session: Named<'a>,
    content: Named<'a>,
    bytes: Vec<u8>,
}

impl<'a> Rows<'a> {
    /// None: the twin has to look. Then what was written of it is not to be used.
    fn add(&mut self, one: &Verdict<'a>) -> Option<()> {
        let line = &one.fields;
        let (owner, session, event) = (line.text(OWNER), line.text(SESSION), line.text(EVENT));
        let occurred_us = line.long(OCCURRED_AT).checked_add(POSTGRES_EPOCH_US)?;
        let event_id = uuid5(
            EVENT_KIND,
            owner,
            &[
                &line.long(TARGET).to_be_bytes(),
                &line.long(SEQUENCE).to_be_bytes(),
                &occurred_us.to_be_bytes(),
                &[event.len() as u8],
                event,
                session,
            ],
        );
        let content_owner = if one.content.is_empty() { b"" } else { owner };
        let content_id = self.content.of(CONTENT_KIND, content_owner, one.content);
        let session_id = self.session.of(SESSION_KIND, owner, session);
        let position_ms = line.value(POSITION).map(|_| line.long(POSITION) as u64);
        let position_s = position_ms.filter(|ms| *ms < POSITION_MAX_MS).map(|ms| (ms / 1_000) as i64);

        self.put(&COLUMN_COUNT.to_be_bytes());
        for id in [event_id, content_id, session_id] {
            self.put(&16_u32.to_be_bytes());
            self.put(&id);
        }
        self.put(line.between(OCCURRED_AT, TEST));
        self.put(&(one.kind.len() as u32).to_be_bytes());
        self.put(one.kind);
        self.put(line.between(TEST, TEST + 1));
        self.put(&NULL);
        self.put(&NULL);
        self.integer(position_s)?;
        self.put(&NULL);
        self.put(line.between(PROFILE, DEVICE));
        self.put(line.between(QUALITY, CUSTOM_EVENT));
        self.integer(line.number(BITRATE).map(i64::from))?;
        self.put(line.between(DEVICE, PLAYER));
        self.put(line.between(CDN_EDGE, QUALITY));
        self.integer(Some(one.buffer_ms))?;
        self.integer(Some(one.startup_ms))?;
        self.put(if one.kind == b"error" { line.between(ERROR_CODE, CDN_EDGE) } else { &NULL });
        self.put(line.between(PLAYER, METADATA));
        if one.is_signal {
            self.put(&NULL);
            return Some(());
        }
        self.metadata(one, position_ms.filter(|_| position_s.is_none()))
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// None, and what is negative: NULL.
    fn integer(&mut self, value: Option<i64>) -> Option<()> {
        match value.filter(|value| *value >= 0) {
            Some(value) => {
                self.put(&4_u32.to_be_bytes());
                self.put(&i32::try_from(value).ok()?.to_be_bytes());
            }
            None => self.put(&NULL),
        }
        Some(())
    }

    /// What CMCD said beyond our columns, and what of it became another.
    fn metadata(&mut self, one: &Verdict<'a>, position_ms: Option<u64>) -> Option<()> {
        let line = &one.fields;
        let begin = self.bytes.len();
        self.put(&[0; 4]);
        self.put(b"{");
        if let Some(known) = line.value(METADATA).filter(|known| known.len() > 2) {
            self.put(&known[1..known.len() - 1]);
            self.put(b",");
        }
        self.put(format!("\"sn\":{}", line.long(SEQUENCE)).as_bytes());
        if !self.session.is_uuid {
            self.text("sid", line.text(SESSION))?;
        }
        if !one.content.is_empty() && !self.content.is_uuid {
            self.text("cid", one.content)?;
        }
        if let Some(thousandths) = line.number(RATE) {
            self.put(format!(",\"pr\":{}", decimal(thousandths)).as_bytes());
        }
        if let Some(custom) = line.value(CUSTOM_EVENT) {
            self.text("cen", custom)?;
        }
        if let Some(position_ms) = position_ms {
            self.put(format!(",\"pt\":{position_ms}").as_bytes());
        }
        self.put(b"}");
        let length = (self.bytes.len() - begin - 4) as u32;
        self.bytes[begin..begin + 4].copy_from_slice(&length.to_be_bytes());
        Some(())
    }

    /// A text of JSON behind others; None for what is none.
    fn text(&mut self, name: &str, text: &[u8]) -> Option<()> {
        std::str::from_utf8(text).ok()?;
        self.put(format!(",\"{name}\":\"").as_bytes());
        for &byte in text {
            match byte {
                b'"' | b'\\' => self.put(&[b'\\', byte]),
                0x08 => self.put(b"\\b"),
                0x09 => self.put(b"\\t"),
                0x0A => self.put(b"\\n"),
                0x0C => self.put(b"\\f"),
                0x0D => self.put(b"\\r"),
                0..0x20 => self.put(format!("\\u{byte:04x}").as_bytes()),
                _ => self.bytes.push(byte),
            }
        }
        self.put(b"\"");
        Some(())
    }
}

/// Thousandths as a number of JSON, with a point.
fn decimal(thousandths: i32) -> String {
    let sign = if thousandths < 0 { "-" } else { "" };
    let (whole, rest) = (thousandths.unsigned_abs() / 1_000, thousandths.unsigned_abs() % 1_000);
    let digits = format!("{rest:03}");
    let digits = digits.trim_end_matches('0');
    format!("{sign}{whole}.{}", if digits.is_empty() { "0" } else { digits })
}

/// Of all of these, the sum of their hashes and where each ends, and the rows; None: the twin has to look.
pub fn rows<'py>(verdicts: &Bound<'py, PyList>) -> PyResult<Option<(u64, Bound<'py, PyBytes>)>> {
    let py = verdicts.py();
    let mut objects = Vec::with_capacity(verdicts.len());
    for one in verdicts {
        objects.push((
            one.getattr(intern!(py, "line"))?.getattr(intern!(py, "raw"))?.cast_into::<PyBytes>()?,
            one.getattr(intern!(py, "kind"))?.cast_into::<PyBytes>()?,
            one.getattr(intern!(py, "is_signal"))?.extract()?,
            one.getattr(intern!(py, "content"))?.cast_into::<PyBytes>()?,
            one.getattr(intern!(py, "buffer_ms"))?.extract()?,
            one.getattr(intern!(py, "startup_ms"))?.extract()?,
        ));
    }
    let mut rows = Rows::default();
    rows.bytes.reserve(256 * objects.len());
    let (mut ends, mut hash) = (Vec::with_capacity(objects.len()), 0_u64);
    for (raw, kind, is_signal, content, buffer_ms, startup_ms) in &objects {
        let Some(fields) = Fields::of(raw.as_bytes()) else { return Ok(None) };
        let one = Verdict {
            fields,
            kind: kind.as_bytes(),
            is_signal: *is_signal,
            content: content.as_bytes(),
            buffer_ms: *buffer_ms,
            startup_ms: *startup_ms,
        };
        let begin = rows.bytes.len();
        if rows.add(&one).is_none() {
            return Ok(None);
        }
        hash = hash.wrapping_add(xxh3_64(&rows.bytes[begin..]));
        ends.push(rows.bytes.len() as u32);
    }
    let payload = PyBytes::new_with(py, 4 * ends.len() + rows.bytes.len(), |payload| {
        let (table, rest) = payload.split_at_mut(4 * ends.len());
        for (entry, end) in table.chunks_exact_mut(4).zip(&ends) {
            entry.copy_from_slice(&end.to_le_bytes());
        }
        rest.copy_from_slice(&rows.bytes);
        Ok(())
    })?;
    Ok(Some((hash, payload)))
}
