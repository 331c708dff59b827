//! storage/redis/sign.py: what tuples say about views and sessions, one entry each.

use std::collections::HashMap;

use crate::event::{said, Damaged, Said, LIFE, PLAY};
use crate::frame::tuples;
use crate::run::{Run, KIND_PLAYBACK, KIND_SIGNAL};
use crate::SCHEMA_PLAYBACK;

const HOUR_US: i64 = 3_600 * 1_000_000;
const STATES_BACK_US: i64 = 900 * 1_000_000;
const BY_SEQUENCE: usize = 0;
const BY_TIME: usize = 2;
const ALIVE: usize = 1;
const SINGLE: u8 = 16;
const PROFILE: u8 = 32;
const COLUMN_COUNT: u8 = 24;
const IDS_MAX: usize = 32;
const HEARTBEAT_SHIFT: u8 = 4;
/// config/heartbeat.py: seconds between heartbeats, by class.
const INTERVALS_S: [i64; 16] = [0, 2, 3, 5, 8, 10, 12, 15, 20, 25, 30, 45, 60, 120, 180, 300];
const MEMORY_INTERVALS: i64 = 10;

type Session = [u8; 16];
type View = [u8; 32];
type Profile = [u8; 16];

/// Of two the greater is the newer, field by field.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Register {
    order: i64,
    rank: u8,
    content: [u8; 16],
    base_before_us: i64,
    time_us: i64,
    heartbeat: u8,
}

#[derive(Default)]
struct Slots([Option<Register>; 4]);

impl Slots {
    /// Puts a register where it is the newest: a play is a state and a sign of life.
    fn place(&mut self, slot: usize, register: Register) {
        if register.rank != LIFE {
            self.0[slot] = self.0[slot].max(Some(register));
        }
        if register.rank <= PLAY {
            self.0[slot + ALIVE] = self.0[slot + ALIVE].max(Some(register));
        }
    }

    fn pack(
        &self,
        session: &Session,
        flags: u8,
        ids: &[[u8; 8]],
        profile: &Option<Profile>,
        packed: &mut Vec<u8>,
    ) {
        let ids = &ids[ids.len().saturating_sub(IDS_MAX)..];
        let flags = if profile.is_some() { flags | PROFILE } else { flags };
        let mask = (0..4).filter(|slot| self.0[*slot].is_some()).fold(flags, |mask, slot| mask | 1 << slot);
        packed.extend_from_slice(session);
        packed.extend_from_slice(&[mask, ids.len() as u8]);
        for register in self.0.iter().flatten() {
            packed.extend_from_slice(&(register.order as f64).to_le_bytes());
            packed.push(register.rank | register.heartbeat << HEARTBEAT_SHIFT);
            packed.extend_from_slice(&(-register.base_before_us as f64).to_le_bytes());
            packed.extend_from_slice(&register.content);
            packed.extend_from_slice(&(register.time_us as f64).to_le_bytes());
        }
        packed.extend(profile.iter().flatten());
        packed.extend(ids.iter().flatten());
    }
}

/// What a session did in these signs.
#[derive(Default)]
struct Known {
    slots: Slots,
    ids: Vec<[u8; 8]>,
    profile: Option<Profile>,
}

/// What `add_run` took: until which frame, and how many rows, signals, and tests of both.
pub struct Taken {
    pub until: usize,
    pub rows: u64,
    pub signals: u64,
    pub tests: u64,
}

/// Of a frame.
struct Since {
    heartbeat: u8,
    oldest_us: i64,
    oldest_state_us: i64,
}

/// Entries in the order in which they were met first.
pub struct Signs {
    now_us: i64,
    memory_us: i64,
    view_at: HashMap<View, usize>,
    views: Vec<(View, i32)>,
    session_at: HashMap<Session, usize>,
    sessions: Vec<(Session, Known)>,
    single: Vec<(Session, [u8; 8], Register, Option<Profile>)>,
}

impl Signs {
    pub fn new(now_us: i64, memory_us: i64) -> Self {
        Signs {
            now_us,
            memory_us,
            view_at: HashMap::new(),
            views: Vec::new(),
            session_at: HashMap::new(),
            sessions: Vec::new(),
            single: Vec::new(),
        }
    }

    pub fn entries(&self) -> usize {
        self.views.len() + self.sessions.len() + self.single.len()
    }

    /// Takes the tuples of a frame in, whose players are of this class; how many were tests.
    pub fn add(&mut self, rows: &[u8], ends_table: &[u8], heartbeat: u8) -> Result<u32, Damaged> {
        let mut tests = 0;
        let since = self.since(heartbeat);
        let mut last = (Session::default(), usize::MAX); // a player's events come one behind the other
        for row in tuples(rows, ends_table) {
            tests += self.sign(row.ok_or(Damaged)?, &since, &mut last)?;
        }
        Ok(tests)
    }

    /// Takes frames of a run in, from the one at `begin` on, until there are `entries_max` entries. It stops before a
    /// frame whose schema is none of ours.
    pub fn add_run(&mut self, run: &Run, data: &[u8], begin: usize, entries_max: usize) -> Result<Taken, Damaged> {
        let mut taken = Taken { until: begin, rows: 0, signals: 0, tests: 0 };
        for one in run.frames.iter().skip(begin) {
            let count = match one.head.kind {
                KIND_PLAYBACK => &mut taken.rows,
                KIND_SIGNAL => &mut taken.signals,
                _ => {
                    taken.until += 1;
                    continue;
                }
            };
            if one.head.schema != SCHEMA_PLAYBACK {
                break;
            }
            *count += one.head.count as u64;
            let (ends_table, rows) = one.payload(data);
            taken.tests += self.add(rows, ends_table, one.head.flags >> HEARTBEAT_SHIFT)? as u64;
            taken.until += 1;
            if self.entries() >= entries_max {
                break;
            }
        }
        Ok(taken)
    }

    /// How far back signs of players of a class move their sessions.
    fn since(&self, heartbeat: u8) -> Since {
        let interval_s = INTERVALS_S[(heartbeat & 15) as usize];
        let memory_us = if self.memory_us == 0 { 0 } else { self.memory_us.max(MEMORY_INTERVALS * interval_s * 1_000_000) };
        let oldest_us = self.now_us.saturating_sub(memory_us);
        let oldest_state_us = oldest_us.min(self.now_us.saturating_sub(STATES_BACK_US));
        Since { heartbeat, oldest_us, oldest_state_us }
    }

    fn sign(&mut self, row: &[u8], since: &Since, last: &mut (Session, usize)) -> Result<u32, Damaged> {
        let event = match said(row)? {
            Said::Test => return Ok(1),
            Said::Nothing => return Ok(0),
            Said::Event(event) => event,
        };
        let (rank, time_us, content, session) = (event.rank, event.time_us, event.content(), event.session());
        if rank == PLAY {
            let hour = i32::try_from(time_us.div_euclid(HOUR_US)).map_err(|_| Damaged)?;
            self.view(&session, &content, hour);
        }
        if time_us < since.oldest_us && (rank == LIFE || time_us < since.oldest_state_us) {
            return Ok(0);
        }
        let base_us = time_us.min(event.received_us).min(self.now_us);
        let order = event.sequence.unwrap_or(time_us);
        let base_before_us = base_us.checked_neg().ok_or(Damaged)?;
        let heartbeat = since.heartbeat;
        let register = Register { order, rank, content, base_before_us, time_us, heartbeat };
        if event.sequence.is_none() && event.is_broken {
            self.single.push((session, event.id_end(), register, profile(row[1], event.rest)?));
            return Ok(0);
        }
        if last.1 == usize::MAX || last.0 != session {
            *last = (session, self.session(&session));
        }
        let (_, known) = &mut self.sessions[last.1];
        if event.sequence.is_some() {
            known.slots.place(BY_SEQUENCE, register);
        } else {
            known.slots.place(BY_TIME, register);
            known.ids.push(event.id_end());
        }
        if known.profile.is_none() {
            known.profile = profile(row[1], event.rest)?;
        }
        Ok(0)
    }

    fn view(&mut self, session: &Session, content: &[u8; 16], hour: i32) {
        let mut key = View::default();
        key[..16].copy_from_slice(session);
        key[16..].copy_from_slice(content);
        let at = *self.view_at.entry(key).or_insert(self.views.len());
        match self.views.get_mut(at) {
            Some((_, known)) => *known = hour.min(*known),
            None => self.views.push((key, hour)),
        }
    }

    fn session(&mut self, session: &Session) -> usize {
        let at = *self.session_at.entry(*session).or_insert(self.sessions.len());
        if at == self.sessions.len() {
            self.sessions.push((*session, Known::default()));
        }
        at
    }

    /// VIEW and SESSION structures, one behind the other.
    pub fn packed(&self) -> (Vec<u8>, Vec<u8>) {
        let mut views = Vec::with_capacity(36 * self.views.len());
        for (key, hour) in &self.views {
            views.extend_from_slice(key);
            views.extend_from_slice(&hour.to_le_bytes());
        }
        let mut sessions = Vec::with_capacity(80 * (self.sessions.len() + self.single.len()));
        for (session, known) in &self.sessions {
            known.slots.pack(session, 0, &known.ids, &known.profile, &mut sessions);
        }
        for (session, event, register, profile) in &self.single {
            let mut slots = Slots::default();
            slots.place(BY_TIME, *register);
            slots.pack(session, SINGLE, &[*event], profile, &mut sessions);
        }
        (views, sessions)
    }
}

/// Of what is behind `sequence` in a whole tuple: position, duration, profile_id.
fn profile(columns: u8, mut fields: &[u8]) -> Result<Option<Profile>, Damaged> {
    if columns != COLUMN_COUNT {
        return Ok(None);
    }
    for _ in 0..2 {
        let (length, rest) = fields.split_first_chunk::<4>().ok_or(Damaged)?;
        fields = if length[0] == 0 { rest.get(4..).ok_or(Damaged)? } else { rest };
    }
    let (length, rest) = fields.split_first_chunk::<4>().ok_or(Damaged)?;
    Ok(if length[0] == 0 { Some(*rest.first_chunk().ok_or(Damaged)?) } else { None })
}
