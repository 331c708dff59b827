//! What one request's events are judged by: when it came, whose it is, and which times it may carry.

use super::field::TIME_MAX_US;

const CLOCK_TOLERANCE_US: u64 = 5 * 60 * 1_000_000;
pub const FLAG_CLOCK_BROKEN: u8 = 1;
const HEARTBEAT_SHIFT: u8 = 4;

pub struct Request<'a> {
    pub received_us: i64,
    pub past_us: i64,
    pub future_us: i64,
    pub events_max: usize,
    pub values_max: usize,
    pub owner: &'a [u8],
    /// Class of the write key's interval (config/heartbeat.py).
    pub heartbeat: u8,
    /// Of a trusted CDN, two characters.
    pub country: Option<&'a str>,
}

/// What one sent_at, or its absence, means.
pub struct Window {
    pub earliest_us: i64,
    pub latest_us: i64,
    pub flags: u8,
    pub sent_us: Option<i64>,
}

impl Request<'_> {
    /// The rule of DESIGN §3: a sane clock is held to the door's limits, a broken one to the years 1970–2100.
    pub fn window(&self, sent_us: Option<i64>) -> Window {
        let flags = self.heartbeat << HEARTBEAT_SHIFT;
        if sent_us.is_some_and(|sent_us| self.received_us.abs_diff(sent_us) > CLOCK_TOLERANCE_US) {
            return Window { earliest_us: 0, latest_us: TIME_MAX_US, flags: flags | FLAG_CLOCK_BROKEN, sent_us };
        }
        Window {
            earliest_us: self.received_us.saturating_sub(self.past_us).max(0),
            latest_us: self.received_us.saturating_add(self.future_us).min(TIME_MAX_US),
            flags,
            sent_us,
        }
    }
}
