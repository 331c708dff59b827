//! A tuple's parts, as storage/scylla/requests.py and columns.py take them.

use crate::event::POSTGRES_EPOCH_US;

pub const OPTIONAL: usize = 17;
pub const HOUR_US: i64 = 3_600_000_000;
pub const DAY_US: i64 = 24 * HOUR_US;
pub const PROFILE: usize = 4;
pub const EDGE: usize = 9;
const FIXED_BYTES: usize = 90;

#[derive(Clone, Copy)]
pub enum Kind {
    Time,
    Number,
    Uuid,
    Text,
}

pub const KINDS: [Kind; OPTIONAL] = {
    use Kind::{Number, Text, Time, Uuid};
    [
        Time, Number, Number, Number, Uuid, Text, Number, Text, Text, Text, Number, Number, Text, Text, Text, Text, Text,
    ]
};

pub type Id = [u8; 16];

pub struct Tuple<'a> {
    pub event: &'a Id,
    pub content: &'a Id,
    pub session: &'a Id,
    /// Microseconds since 1970.
    pub occurred_us: i64,
    pub received_us: i64,
    pub kind: &'a [u8],
    pub is_test: bool,
    pub optional: [Option<&'a [u8]>; OPTIONAL],
    /// Bit i: optional[i] is there.
    pub mask: u32,
    pub size_bytes: usize,
}

impl<'a> Tuple<'a> {
    /// None where it is not plain, and its twin has to say what it is.
    #[inline]
    pub fn read(tuple: &'a [u8]) -> Option<Self> {
        let kind_bytes = usize::try_from(number(tuple.get(86..FIXED_BYTES)?)?).ok()?;
        let (kind, rest) = tuple[FIXED_BYTES..].split_at_checked(kind_bytes)?;
        let (test, mut rest) = rest.split_at_checked(5)?;
        if test[4] > 1 {
            return None;
        }
        let (mut optional, mut mask) = ([None; OPTIONAL], 0);
        for (index, value) in optional.iter_mut().enumerate() {
            let (length, behind) = rest.split_at_checked(4)?;
            rest = behind;
            if let Ok(length) = usize::try_from(number(length)?) {
                let (bytes, behind) = rest.split_at_checked(length)?;
                rest = behind;
                let fits = match KINDS[index] {
                    Kind::Time | Kind::Number => value_of(KINDS[index], bytes).is_some(),
                    Kind::Uuid => length == 16,
                    Kind::Text => true,
                };
                if !fits {
                    return None;
                }
                *value = Some(bytes);
                mask |= 1 << index;
            }
        }
        if !rest.is_empty() {
            return None;
        }
        Some(Tuple {
            event: tuple[6..22].first_chunk()?,
            content: tuple[26..42].first_chunk()?,
            session: tuple[46..62].first_chunk()?,
            occurred_us: number(&tuple[66..74])?.checked_add(POSTGRES_EPOCH_US)?,
            received_us: number(&tuple[78..86])?.checked_add(POSTGRES_EPOCH_US)?,
            kind,
            is_test: test[4] != 0,
            optional,
            mask,
            size_bytes: tuple.len(),
        })
    }

    pub fn day(&self) -> i64 {
        self.occurred_us.div_euclid(DAY_US)
    }

    pub fn hour(&self) -> i64 {
        self.occurred_us.div_euclid(HOUR_US)
    }
}

/// Of a number as it lies in a tuple; a time counts from 1970.
#[inline]
pub fn value_of(kind: Kind, bytes: &[u8]) -> Option<i64> {
    match kind {
        Kind::Time if bytes.len() == 8 => number(bytes)?.checked_add(POSTGRES_EPOCH_US),
        Kind::Number => number(bytes),
        _ => None,
    }
}

/// Of 4 or 8 bytes.
fn number(bytes: &[u8]) -> Option<i64> {
    match bytes.len() {
        4 => Some(i64::from(i32::from_be_bytes(bytes.try_into().ok()?))),
        8 => Some(i64::from_be_bytes(bytes.try_into().ok()?)),
        _ => None,
    }
}
