//! storage/watch.py: where profiles are in their contents, one entry each.

use std::collections::HashMap;

use crate::event::{nullable, said, Damaged, Event, Said, POSTGRES_EPOCH_US};
use crate::frame::tuples;
use crate::run::{Run, KIND_PLAYBACK, KIND_SIGNAL};
use crate::SCHEMA_PLAYBACK;

/// Profile and content.
type Key = [u8; 32];
const ENTRY_BYTES: usize = 73;
const NEVER: i64 = i64::MIN;

/// Of two the greater is the newer, field by field.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    at_us: i64,
    order: i64,
    at_end: bool,
    position: i32,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Length {
    at_us: i64,
    duration: i32,
}

struct Entry {
    watched_us: i64,
    place: Place,
    length: Length,
}

const NOWHERE: Place = Place { at_us: NEVER, order: 0, at_end: false, position: 0 };
const UNKNOWN: Length = Length { at_us: NEVER, duration: 0 };

/// Entries in the order in which they were met first.
#[derive(Default)]
pub struct Watching {
    entry_at: HashMap<Key, usize>,
    entries: Vec<(Key, Entry)>,
}

impl Watching {
    /// Takes the tuples of a frame in.
    pub fn add(&mut self, rows: &[u8], ends_table: &[u8]) -> Result<(), Damaged> {
        let mut last = (Key::default(), usize::MAX); // a player's events come one behind the other
        for row in tuples(rows, ends_table) {
            if let Said::Event(event) = said(row.ok_or(Damaged)?)? {
                self.take(&event, &mut last)?;
            }
        }
        Ok(())
    }

    /// Takes the frames of a run in, and says how many: it stops before one whose schema is none of ours.
    pub fn add_run(&mut self, run: &Run, data: &[u8]) -> Result<usize, Damaged> {
        for (number, one) in run.frames.iter().enumerate() {
            if one.head.kind != KIND_PLAYBACK && one.head.kind != KIND_SIGNAL {
                continue;
            }
            if one.head.schema != SCHEMA_PLAYBACK {
                return Ok(number);
            }
            let (ends_table, rows) = one.payload(data);
            self.add(rows, ends_table)?;
        }
        Ok(run.frames.len())
    }

    fn take(&mut self, event: &Event, last: &mut (Key, usize)) -> Result<(), Damaged> {
        let (position, rest) = nullable(event.rest)?;
        let (duration, rest) = nullable(rest)?;
        let (Some(profile), _) = nullable::<16>(rest)? else {
            return Ok(());
        };
        let position = position.map(i32::from_be_bytes);
        let duration = duration.map(i32::from_be_bytes).filter(|duration| *duration != 0);
        let mut key = Key::default();
        key[..16].copy_from_slice(&profile);
        key[16..].copy_from_slice(&event.content());
        if last.1 == usize::MAX || last.0 != key {
            *last = (key, self.entry(&key));
        }
        let (_, entry) = &mut self.entries[last.1];
        let at_us = event.time_us.min(event.received_us);
        entry.watched_us = entry.watched_us.max(at_us);
        if position.is_some() || event.completed {
            let position = position.or(duration).unwrap_or(0);
            let order = event.sequence.unwrap_or(event.time_us);
            entry.place = entry.place.max(Place { at_us, order, at_end: event.completed, position });
        }
        let at_end = position.filter(|position| event.completed && *position != 0);
        if let Some(duration) = duration.or(at_end) {
            entry.length = entry.length.max(Length { at_us, duration });
        }
        Ok(())
    }

    fn entry(&mut self, key: &Key) -> usize {
        let at = *self.entry_at.entry(*key).or_insert(self.entries.len());
        if at == self.entries.len() {
            self.entries.push((*key, Entry { watched_us: NEVER, place: NOWHERE, length: UNKNOWN }));
        }
        at
    }

    /// ENTRY structures, one behind the other.
    pub fn packed(&self) -> Vec<u8> {
        let mut packed = Vec::with_capacity(ENTRY_BYTES * self.entries.len());
        for (key, Entry { watched_us, place, length }) in &self.entries {
            packed.extend_from_slice(key);
            packed.extend_from_slice(&postgres_us(*watched_us).to_be_bytes());
            packed.extend_from_slice(&postgres_us(place.at_us).to_be_bytes());
            packed.extend_from_slice(&place.order.to_be_bytes());
            packed.extend_from_slice(&place.position.to_be_bytes());
            packed.push(place.at_end as u8);
            packed.extend_from_slice(&postgres_us(length.at_us).to_be_bytes());
            packed.extend_from_slice(&length.duration.to_be_bytes());
        }
        packed
    }
}

/// As PostgreSQL has it: since 2000; the least is -infinity.
fn postgres_us(time_us: i64) -> i64 {
    time_us.saturating_sub(POSTGRES_EPOCH_US)
}
