//! What one tuple says to those who count: the one reading of test traffic, of event types and of players' clocks.

pub const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;
const CLOCK_TOLERANCE_US: u64 = 5 * 60 * 1_000_000;
const CORRECTED_AHEAD_MAX_US: i64 = 24 * 60 * 60 * 1_000_000;
pub const LIFE: u8 = 0;
pub const PLAY: u8 = 1;
const PAUSE: u8 = 2;
const END: u8 = 3;

/// A tuple is cut short, or a number in it is beyond every event's.
#[derive(Debug)]
pub struct Damaged;

pub enum Said<'a> {
    Test,
    /// Of an event type that says nothing about who watches.
    Nothing,
    Event(Event<'a>),
}

/// Times are microseconds since 1970.
pub struct Event<'a> {
    head: &'a [u8; 90],
    pub rank: u8,
    pub completed: bool,
    pub sequence: Option<i64>,
    /// When it happened: as sent, or counted back from the receipt where the player's clock is broken.
    pub time_us: i64,
    pub received_us: i64,
    pub is_broken: bool,
    /// The columns behind `sequence`.
    pub rest: &'a [u8],
}

impl Event<'_> {
    #[inline]
    fn part<const BYTES: usize>(&self, at: usize) -> [u8; BYTES] {
        std::array::from_fn(|number| self.head[at + number])
    }

    /// The last eight bytes of its id.
    #[inline]
    pub fn id_end(&self) -> [u8; 8] {
        self.part(14)
    }

    #[inline]
    pub fn content(&self) -> [u8; 16] {
        self.part(26)
    }

    #[inline]
    pub fn session(&self) -> [u8; 16] {
        self.part(46)
    }
}

#[inline(always)]
pub fn said(row: &[u8]) -> Result<Said<'_>, Damaged> {
    let head = row.first_chunk::<90>().ok_or(Damaged)?;
    let time = |at: usize| i64::from_be_bytes(std::array::from_fn(|number| head[at + number]));
    let (event_type, rest) = row[90..].split_at_checked(head[89] as usize).ok_or(Damaged)?;
    let (test, rest) = rest.split_at_checked(5).ok_or(Damaged)?;
    if test[4] != 0 {
        return Ok(Said::Test);
    }
    let rank = match event_type {
        b"play" => PLAY,
        b"heartbeat" | b"seek" | b"buffering" | b"quality_change" => LIFE,
        b"pause" => PAUSE,
        b"stop" | b"completed" => END,
        _ => return Ok(Said::Nothing),
    };
    let (sent_us, rest) = nullable(rest)?;
    let (sequence, rest) = nullable(rest)?;
    let (mut time_us, received_us) = (time(66), time(78));
    let sent_us = sent_us.map(i64::from_be_bytes);
    let broken = sent_us.filter(|sent_us| received_us.abs_diff(*sent_us) > CLOCK_TOLERANCE_US);
    if let Some(sent_us) = broken {
        let ahead_us = time_us.checked_sub(sent_us).ok_or(Damaged)?.min(CORRECTED_AHEAD_MAX_US);
        time_us = received_us.checked_add(ahead_us).ok_or(Damaged)?;
    }
    Ok(Said::Event(Event {
        head,
        rank,
        completed: event_type == b"completed",
        sequence: sequence.map(i64::from_be_bytes),
        time_us: time_us.checked_add(POSTGRES_EPOCH_US).ok_or(Damaged)?,
        received_us: received_us.checked_add(POSTGRES_EPOCH_US).ok_or(Damaged)?,
        is_broken: broken.is_some(),
        rest,
    }))
}

/// A field of a tuple, of so many bytes or NULL, and what is behind it.
#[inline(always)]
pub fn nullable<const BYTES: usize>(fields: &[u8]) -> Result<(Option<[u8; BYTES]>, &[u8]), Damaged> {
    let (length, rest) = fields.split_first_chunk::<4>().ok_or(Damaged)?;
    match i32::from_be_bytes(*length) {
        -1 => Ok((None, rest)),
        length if length as usize == BYTES => {
            rest.split_first_chunk().map(|(value, rest)| (Some(*value), rest)).ok_or(Damaged)
        }
        _ => Err(Damaged),
    }
}
