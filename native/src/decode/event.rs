//! One event as sent, its values checked one by one; and its tuple.

use std::borrow::Cow;

use super::field::{milliseconds_us, time_us, uuid};
use super::metadata;
use super::request::{Request, Window};
use super::scan::{unescaped, Cursor, Doubt, Vouched};

const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;
const COLUMN_COUNT: u16 = 24;
const NULL: [u8; 4] = [0xff; 4];
const INT4_MAX: u64 = i32::MAX as u64;
const BIGINT_SAFE_MAX: u64 = (1 << 53) - 1;
const TUPLE_BYTES: usize = 512;
/// event_types, in the order of ingest.event.EVENT_TYPES.
const EVENT_TYPES: [&[u8]; 9] =
    [b"play", b"pause", b"seek", b"buffering", b"error", b"completed", b"heartbeat", b"stop", b"quality_change"];
const HEARTBEAT: &[u8] = b"heartbeat";

type Text<'a> = Option<Cow<'a, [u8]>>;

/// Absent and null are None.
#[derive(Default)]
pub struct Event<'a> {
    event_id: Option<[u8; 16]>,
    content_id: Option<[u8; 16]>,
    session_id: Option<[u8; 16]>,
    occurred_us: Option<i64>,
    event_type: Option<&'a [u8]>,
    sequence: Option<u64>,
    position_s: Option<u64>,
    duration_s: Option<u64>,
    sent_us: Option<i64>,
    test: bool,
    metadata: Option<Vec<u8>>,
    profile_id: Option<[u8; 16]>,
    country: Text<'a>,
    quality: Text<'a>,
    bitrate_kbps: Option<u64>,
    device_type: Text<'a>,
    platform: Text<'a>,
    cdn_edge: Text<'a>,
    buffer_duration_ms: Option<u64>,
    startup_ms: Option<u64>,
    error_code: Text<'a>,
    player: Text<'a>,
    app_version: Text<'a>,
}

/// Where an event goes: what tells frames apart, and its key within the request.
pub struct Placed {
    pub is_signal: bool,
    pub flags: u8,
    pub occurred_us: i64,
    pub event_id: [u8; 16],
    /// Of its tuple in the rows.
    pub end: usize,
}

impl<'a> Event<'a> {
    /// The object that is next.
    pub fn read(cursor: &mut Cursor<'a>) -> Vouched<Self> {
        cursor.expect(b'{')?;
        let mut event = Event::default();
        let mut seen = 0;
        loop {
            cursor.peek();
            let name = cursor.plain_string()?;
            cursor.expect(b':')?;
            let bit = event.member(name, cursor)?;
            if seen & bit != 0 {
                return Err(Doubt); // the twin takes the last of doubled names
            }
            seen |= bit;
            if !cursor.more(b'}')? {
                return Ok(event);
            }
        }
    }

    /// Takes the value of the member `name`; a bit of its own for each name.
    #[inline]
    fn member(&mut self, name: &[u8], cursor: &mut Cursor<'a>) -> Vouched<u32> {
        // By length first: comparisons of equal length are one or two instructions each.
        let number = match name.len() {
            4 if name == b"type" => {
                if !is_null(cursor) && cursor.plain_string()? != b"playback" {
                    return Err(Doubt);
                }
                0
            }
            4 if name == b"test" => {
                self.test = match cursor.peek() {
                    b't' if cursor.takes(b"true") => true,
                    b'f' if cursor.takes(b"false") => false,
                    b'n' if cursor.takes(b"null") => false,
                    _ => return Err(Doubt),
                };
                1
            }
            6 if name == b"player" => text(&mut self.player, cursor, 100, 2)?,
            7 if name == b"quality" => text(&mut self.quality, cursor, 20, 3)?,
            7 if name == b"bitrate" => integer(&mut self.bitrate_kbps, cursor, 4)?,
            7 if name == b"country" => {
                text(&mut self.country, cursor, 2, 5)?;
                if self.country.as_ref().is_some_and(|text| characters(text) != 2) {
                    return Err(Doubt);
                }
                5
            }
            7 if name == b"sent_at" => time(&mut self.sent_us, cursor, 6)?,
            8 if name == b"event_id" => identifier(&mut self.event_id, cursor, 7)?,
            8 if name == b"sequence" => {
                if !is_null(cursor) {
                    self.sequence = Some(at_most(cursor.natural(16)?, BIGINT_SAFE_MAX)?);
                }
                8
            }
            8 if name == b"position" => seconds(&mut self.position_s, cursor, 9)?,
            8 if name == b"duration" => seconds(&mut self.duration_s, cursor, 10)?,
            8 if name == b"platform" => text(&mut self.platform, cursor, 50, 11)?,
            8 if name == b"cdn_edge" => text(&mut self.cdn_edge, cursor, 100, 12)?,
            8 if name == b"metadata" => {
                self.metadata = metadata::field(cursor)?;
                13
            }
            10 if name == b"event_type" => {
                if !is_null(cursor) {
                    let kind = cursor.plain_string()?;
                    self.event_type = Some(*EVENT_TYPES.iter().find(|known| **known == kind).ok_or(Doubt)?);
                }
                14
            }
            10 if name == b"content_id" => identifier(&mut self.content_id, cursor, 15)?,
            10 if name == b"session_id" => identifier(&mut self.session_id, cursor, 16)?,
            10 if name == b"profile_id" => identifier(&mut self.profile_id, cursor, 17)?,
            10 if name == b"error_code" => text(&mut self.error_code, cursor, 50, 18)?,
            10 if name == b"startup_ms" => integer(&mut self.startup_ms, cursor, 19)?,
            11 if name == b"occurred_at" => time(&mut self.occurred_us, cursor, 20)?,
            11 if name == b"device_type" => text(&mut self.device_type, cursor, 50, 21)?,
            11 if name == b"app_version" => text(&mut self.app_version, cursor, 50, 22)?,
            15 if name == b"buffer_duration" => integer(&mut self.buffer_duration_ms, cursor, 23)?,
            _ => return Err(Doubt),
        };
        Ok(1 << number)
    }

    /// Appends the tuple to `rows`. `common`: the window of the envelope's sent_at.
    pub fn write(&self, request: &Request<'_>, common: &Window, rows: &mut Vec<u8>) -> Vouched<Placed> {
        let own;
        let window = match self.sent_us {
            Some(sent_us) => {
                own = request.window(Some(sent_us));
                &own
            }
            None => common,
        };
        let content_id = self.content_id.ok_or(Doubt)?;
        let session_id = self.session_id.ok_or(Doubt)?;
        let occurred_us = self.occurred_us.ok_or(Doubt)?;
        let event_type = self.event_type.ok_or(Doubt)?;
        if !(window.earliest_us..=window.latest_us).contains(&occurred_us) {
            return Err(Doubt);
        }
        let event_id = match self.event_id {
            Some(event_id) => event_id,
            None => self.derived_id(request, &session_id, event_type, &content_id, occurred_us)?,
        };
        rows.reserve(TUPLE_BYTES);
        let mut head = [0; 86]; // the first five columns are fixed in size
        head[..2].copy_from_slice(&COLUMN_COUNT.to_be_bytes());
        for (at, id) in [(2, &event_id), (22, &content_id), (42, &session_id)] {
            head[at + 3] = 16;
            head[at + 4..at + 20].copy_from_slice(id);
        }
        for (at, us) in [(62, occurred_us), (74, request.received_us)] {
            head[at + 3] = 8;
            head[at + 4..at + 12].copy_from_slice(&(us - POSTGRES_EPOCH_US).to_be_bytes());
        }
        rows.extend_from_slice(&head);
        put(rows, Some(event_type));
        put(rows, Some(&[self.test as u8]));
        put_i64(rows, window.sent_us.map(|us| us - POSTGRES_EPOCH_US));
        put_i64(rows, self.sequence.map(|value| value as i64));
        put_i32(rows, self.position_s);
        put_i32(rows, self.duration_s);
        put(rows, self.profile_id.as_ref().map(|id| id.as_slice()));
        put(rows, self.quality.as_deref());
        put_i32(rows, self.bitrate_kbps);
        put(rows, self.device_type.as_deref());
        put(rows, self.platform.as_deref());
        put(rows, self.cdn_edge.as_deref());
        put_i32(rows, self.buffer_duration_ms);
        put_i32(rows, self.startup_ms);
        put(rows, self.error_code.as_deref());
        put(rows, self.player.as_deref());
        put(rows, self.app_version.as_deref());
        put(rows, self.country.as_deref().or(request.country.map(str::as_bytes)));
        put(rows, self.metadata.as_deref());
        let is_signal = event_type == HEARTBEAT;
        Ok(Placed { is_signal, flags: window.flags, occurred_us, event_id, end: rows.len() })
    }

    /// ingest.identity: a UUIDv5 over what the player sent.
    fn derived_id(
        &self,
        request: &Request<'_>,
        session_id: &[u8; 16],
        event_type: &[u8],
        content_id: &[u8; 16],
        occurred_us: i64,
    ) -> Vouched<[u8; 16]> {
        const NAMESPACE: u128 = 0x5d1c7f5e_0e5b_4b6a_9a3c_2f7d8e4b1a90;
        if self.sequence.is_none() && self.position_s.is_none() {
            return Err(Doubt);
        }
        let mut sha1 = sha1_smol::Sha1::new();
        sha1.update(&NAMESPACE.to_be_bytes());
        sha1.update(&[1]);
        sha1.update(&(request.owner.len() as u16).to_be_bytes());
        sha1.update(request.owner);
        sha1.update(session_id);
        sha1.update(&self.sequence.map_or(-1, |value| value as i64).to_be_bytes());
        sha1.update(&[event_type.len() as u8]);
        sha1.update(event_type);
        sha1.update(content_id);
        sha1.update(&occurred_us.to_be_bytes());
        sha1.update(&self.position_s.map_or(-1, |value| value as i32).to_be_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&sha1.digest().bytes()[..16]);
        id[6] = id[6] & 0x0f | 0x50;
        id[8] = id[8] & 0x3f | 0x80;
        Ok(id)
    }
}

// ── values: each takes what is next, null included, and returns the number of its name ──────────────────────────────

#[inline]
fn is_null(cursor: &mut Cursor<'_>) -> bool {
    cursor.peek() == b'n' && cursor.takes(b"null")
}

fn at_most(value: u64, most: u64) -> Vouched<u64> {
    if value > most {
        return Err(Doubt);
    }
    Ok(value)
}

#[inline]
fn identifier(field: &mut Option<[u8; 16]>, cursor: &mut Cursor<'_>, number: u32) -> Vouched<u32> {
    if !is_null(cursor) {
        *field = Some(uuid(cursor.plain_string()?)?);
    }
    Ok(number)
}

#[inline]
fn integer(field: &mut Option<u64>, cursor: &mut Cursor<'_>, number: u32) -> Vouched<u32> {
    if !is_null(cursor) {
        *field = Some(at_most(cursor.natural(10)?, INT4_MAX)?);
    }
    Ok(number)
}

#[inline]
fn seconds(field: &mut Option<u64>, cursor: &mut Cursor<'_>, number: u32) -> Vouched<u32> {
    if !is_null(cursor) {
        *field = Some(at_most(cursor.rounded_down(10)?, INT4_MAX)?);
    }
    Ok(number)
}

#[inline]
fn time(field: &mut Option<i64>, cursor: &mut Cursor<'_>, number: u32) -> Vouched<u32> {
    *field = instant(cursor)?;
    Ok(number)
}

/// A time that is next, as text or as milliseconds; None for null.
#[inline]
pub fn instant(cursor: &mut Cursor<'_>) -> Vouched<Option<i64>> {
    match cursor.peek() {
        b'"' => Ok(Some(time_us(cursor.plain_string()?)?)),
        b'n' if cursor.takes(b"null") => Ok(None),
        _ => Ok(Some(milliseconds_us(cursor.natural(15)?)?)),
    }
}

#[inline]
fn text<'a>(field: &mut Text<'a>, cursor: &mut Cursor<'a>, length_max: usize, number: u32) -> Vouched<u32> {
    if is_null(cursor) {
        return Ok(number);
    }
    let (raw, is_escaped) = cursor.string()?;
    let text = if is_escaped { Cow::Owned(unescaped(raw)?) } else { Cow::Borrowed(raw) };
    if is_escaped && text.contains(&0) || text.len() > length_max && characters(&text) > length_max {
        return Err(Doubt);
    }
    *field = Some(text);
    Ok(number)
}

/// Of UTF-8, as PostgreSQL and Python count them.
fn characters(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

// ── fields of a tuple: length i32, -1 for NULL, and value, all in network order ─────────────────────────────────────

#[inline]
fn put(rows: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        Some(value) => {
            rows.extend_from_slice(&(value.len() as u32).to_be_bytes());
            rows.extend_from_slice(value);
        }
        None => rows.extend_from_slice(&NULL),
    }
}

#[inline]
fn put_i64(rows: &mut Vec<u8>, value: Option<i64>) {
    match value {
        Some(value) => {
            let mut field = [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0];
            field[4..].copy_from_slice(&value.to_be_bytes());
            rows.extend_from_slice(&field);
        }
        None => rows.extend_from_slice(&NULL),
    }
}

#[inline]
fn put_i32(rows: &mut Vec<u8>, value: Option<u64>) {
    match value {
        Some(value) => rows.extend_from_slice(&(4 << 32 | value).to_be_bytes()),
        None => rows.extend_from_slice(&NULL),
    }
}
