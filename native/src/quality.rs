//! storage/qoe/sign.py: what tuples say about the quality of experience, of the sessions that are followed.

use std::collections::HashMap;

use crate::frame::tuples;
use crate::run::{Run, KIND_SIGNAL};
use crate::event::Damaged;
use crate::SCHEMA_PLAYBACK;

const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;
const CLOCK_TOLERANCE_US: i64 = 5 * 60 * 1_000_000;
const CORRECTED_AHEAD_MAX_US: i64 = 24 * 60 * 60 * 1_000_000;
const KIND_PLAYBACK: u8 = 1;
const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
const NONE: i64 = -1;
const BUFFERING: u8 = 5;
const HEARTBEAT_SHIFT: u8 = 4;

/// Content, platform, cdn_edge, country: slices of the data; empty where it was not told.
pub type Place<'a> = [&'a [u8]; 4];

/// What a run says: signs by session and sequence, the places that they number, how many events of followed sessions were
/// too old, and before which frame it stopped, as its schema is none of ours.
#[derive(Default)]
pub struct Quality<'a> {
    signs: Vec<Sign>,
    pub places: Vec<Place<'a>>,
    pub old: u64,
    pub until: usize,
    place_at: HashMap<Place<'a>, u32>,
}

/// PACKED of storage/qoe/sign.py: times_us are time and receipt; numbers position_s, kbps, buffer_ms, startup_ms.
struct Sign {
    session: [u8; 16],
    sequence: i64,
    event: [u8; 8],
    kind: u8,
    times_us: [i64; 2],
    numbers: [i32; 4],
    heartbeat: u8,
    place: u32,
}

/// Whether a session is one of those that stand for all.
fn is_followed(session: &[u8; 16], zero_bits: u32) -> bool {
    let half = |at: usize| u64::from_le_bytes(std::array::from_fn(|number| session[at + number]));
    let mixed = (half(0) ^ half(8)).wrapping_mul(MIX);
    mixed.checked_shr(64 - zero_bits).unwrap_or(0) == 0
}

impl<'a> Quality<'a> {
    pub fn read(run: &Run, data: &'a [u8], zero_bits: u32, memory_us: i64) -> Result<Self, Damaged> {
        let mut quality = Quality::default();
        for one in &run.frames {
            if matches!(one.head.kind, KIND_PLAYBACK | KIND_SIGNAL) {
                if one.head.schema != SCHEMA_PLAYBACK {
                    break;
                }
                let (ends_table, rows) = one.payload(data);
                for row in tuples(rows, ends_table) {
                    quality.sign(row.ok_or(Damaged)?, one.head.flags >> HEARTBEAT_SHIFT, zero_bits, memory_us)?;
                }
            }
            quality.until += 1;
        }
        quality.signs.sort_by_key(|sign| (sign.session, sign.sequence));
        Ok(quality)
    }

    /// PACKED structures, one behind the other.
    pub fn packed(&self) -> Vec<u8> {
        let mut packed = Vec::with_capacity(70 * self.signs.len());
        for sign in &self.signs {
            packed.extend_from_slice(&sign.session);
            packed.extend_from_slice(&sign.event);
            packed.push(sign.kind);
            packed.extend_from_slice(&sign.sequence.to_le_bytes());
            packed.extend(sign.times_us.iter().flat_map(|time_us| time_us.to_le_bytes()));
            packed.extend(sign.numbers.iter().flat_map(|number| number.to_le_bytes()));
            packed.push(sign.heartbeat);
            packed.extend_from_slice(&sign.place.to_le_bytes());
        }
        packed
    }

    fn sign(&mut self, row: &'a [u8], heartbeat: u8, zero_bits: u32, memory_us: i64) -> Result<(), Damaged> {
        let head = row.first_chunk::<90>().ok_or(Damaged)?;
        let session: [u8; 16] = std::array::from_fn(|number| head[46 + number]);
        if !is_followed(&session, zero_bits) {
            return Ok(());
        }
        let time = |at: usize| i64::from_be_bytes(std::array::from_fn(|number| head[at + number]));
        let (event_type, rest) = row[90..].split_at_checked(head[89] as usize).ok_or(Damaged)?;
        let mut fields = Fields(rest);
        let kind = match event_type {
            b"play" => 1u8,
            b"heartbeat" => 2,
            b"quality_change" => 3,
            b"seek" => 4,
            b"buffering" => BUFFERING,
            b"error" => 6,
            b"pause" => 7,
            b"completed" => 8,
            b"stop" => 9,
            _ => return Ok(()),
        };
        if fields.next()? != Some(&[0][..]) {
            return Ok(()); // a test
        }
        let (mut time_us, received_us) = (time(66), time(78));
        if let Some(sent_us) = fields.bigint()? {
            if received_us.abs_diff(sent_us) > CLOCK_TOLERANCE_US as u64 {
                let ahead_us = time_us.checked_sub(sent_us).ok_or(Damaged)?.min(CORRECTED_AHEAD_MAX_US);
                time_us = received_us.checked_add(ahead_us).ok_or(Damaged)?;
            }
        }
        if time_us > received_us.saturating_add(CLOCK_TOLERANCE_US) {
            time_us = received_us;
        }
        if received_us.checked_sub(time_us).ok_or(Damaged)? > memory_us {
            self.old += 1;
            return Ok(());
        }
        let sequence = fields.bigint()?.unwrap_or(NONE);
        let position_s = fields.integer()?;
        fields.skip(3)?; // duration, profile_id, quality
        let kbps = fields.integer()?;
        fields.skip(1)?; // device_type
        let (platform, cdn_edge) = (fields.text()?, fields.text()?);
        let (buffer_ms, startup_ms) = (fields.integer()?, fields.integer()?);
        if kind == BUFFERING && buffer_ms > 0 {
            // told as of its begin, with its duration: a sign of when it was over
            let over_us = time_us.checked_add(buffer_ms as i64 * 1_000).ok_or(Damaged)?.min(received_us);
            time_us = time_us.max(over_us);
        }
        fields.skip(3)?; // error_code, player, app_version
        let place = [&row[26..42], platform, cdn_edge, fields.text()?];
        let next = self.places.len() as u32;
        let places = &mut self.places;
        let at = *self.place_at.entry(place).or_insert_with(|| {
            places.push(place);
            next
        });
        self.signs.push(Sign {
            session,
            sequence,
            event: std::array::from_fn(|number| head[14 + number]),
            kind,
            times_us: [time_us + POSTGRES_EPOCH_US, received_us + POSTGRES_EPOCH_US],
            numbers: [position_s, kbps, buffer_ms, startup_ms],
            heartbeat,
            place: at,
        });
        Ok(())
    }
}

/// What is left of a tuple, field by field.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// None of NULL.
    fn next(&mut self) -> Result<Option<&'a [u8]>, Damaged> {
        let (length, rest) = self.0.split_first_chunk::<4>().ok_or(Damaged)?;
        self.0 = rest;
        let Ok(length_bytes) = usize::try_from(i32::from_be_bytes(*length)) else {
            return Ok(None);
        };
        let (value, rest) = self.0.split_at_checked(length_bytes).ok_or(Damaged)?;
        self.0 = rest;
        Ok(Some(value))
    }

    fn skip(&mut self, many: usize) -> Result<(), Damaged> {
        (0..many).try_for_each(|_| self.next().map(drop))
    }

    fn bigint(&mut self) -> Result<Option<i64>, Damaged> {
        self.next()?.map(|value| value.try_into().map(i64::from_be_bytes).map_err(|_| Damaged)).transpose()
    }

    fn integer(&mut self) -> Result<i32, Damaged> {
        match self.next()? {
            None => Ok(NONE as i32),
            Some(value) => value.try_into().map(i32::from_be_bytes).map_err(|_| Damaged),
        }
    }

    fn text(&mut self) -> Result<&'a [u8], Damaged> {
        Ok(self.next()?.unwrap_or_default())
    }
}
