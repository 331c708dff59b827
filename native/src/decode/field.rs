//! Single values as players send them: identifiers and times.

use super::scan::{Doubt, Vouched};

pub const DAY_US: i64 = 86_400_000_000;
pub const TIME_MAX_US: i64 = 4_133_980_800_000_000 - 1;
const TIME_TEXT_MAX: usize = 64;

/// 0 to 15, or 255 for what is no hexadecimal digit.
const NIBBLES: [u8; 256] = {
    let mut table = [255; 256];
    let mut value = 0;
    while value < 16 {
        table[b"0123456789abcdef"[value] as usize] = value as u8;
        table[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    table
};

/// A UUID of 8-4-4-4-12 or 32 hexadecimal digits in either case.
#[inline]
pub fn uuid(text: &[u8]) -> Vouched<[u8; 16]> {
    const DASHED: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
    let mut value = [0; 16];
    let mut worst = 0;
    if let Ok(text) = <&[u8; 36]>::try_from(text) {
        if [text[8], text[13], text[18], text[23]] != *b"----" {
            return Err(Doubt);
        }
        for (byte, at) in value.iter_mut().zip(DASHED) {
            let (high, low) = (NIBBLES[text[at] as usize], NIBBLES[text[at + 1] as usize]);
            worst |= high | low;
            *byte = high << 4 | low;
        }
    } else if let Ok(text) = <&[u8; 32]>::try_from(text) {
        for (byte, pair) in value.iter_mut().zip(text.chunks_exact(2)) {
            let (high, low) = (NIBBLES[pair[0] as usize], NIBBLES[pair[1] as usize]);
            worst |= high | low;
            *byte = high << 4 | low;
        }
    } else {
        return Err(Doubt);
    }
    if worst > 15 {
        return Err(Doubt);
    }
    Ok(value)
}

#[inline]
fn number(text: &[u8]) -> Vouched<i64> {
    text.iter().try_fold(0, |value, digit| match digit {
        b'0'..=b'9' => Ok(value * 10 + (digit - b'0') as i64),
        _ => Err(Doubt),
    })
}

/// Days since 1970 of a date of the years 1970 to 2100.
#[inline]
fn days(year: i64, month: i64, day: i64) -> Vouched<i64> {
    const BEFORE: [i64; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];
    if !(1970..=2100).contains(&year) || !(1..=12).contains(&month) || day < 1 {
        return Err(Doubt);
    }
    let is_leap = year % 4 == 0 && year != 2100;
    let leap_day = (is_leap && month == 2) as i64;
    if day > BEFORE[month as usize] - BEFORE[month as usize - 1] + leap_day {
        return Err(Doubt);
    }
    let leap_days = (year - 1969) / 4 + (is_leap && month > 2) as i64;
    Ok((year - 1970) * 365 + leap_days + BEFORE[month as usize - 1] + day - 1)
}

/// Microseconds since 1970 of an RFC 3339 text of the years 1970 to 2100; digits beyond the sixth are dropped.
#[inline]
pub fn time_us(text: &[u8]) -> Vouched<i64> {
    if text.len() < 20 || text.len() > TIME_TEXT_MAX {
        return Err(Doubt);
    }
    if text[4] != b'-' || text[7] != b'-' || text[10] | 0x20 != b't' || text[13] != b':' || text[16] != b':' {
        return Err(Doubt);
    }
    let day = days(number(&text[..4])?, number(&text[5..7])?, number(&text[8..10])?)?;
    let (hour, minute, second) = (number(&text[11..13])?, number(&text[14..16])?, number(&text[17..19])?);
    if hour > 23 || minute > 59 || second > 59 {
        return Err(Doubt);
    }
    let mut rest = &text[19..];
    let mut fraction_us = 0;
    if rest[0] == b'.' {
        let length = rest[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length == 0 {
            return Err(Doubt);
        }
        let kept = length.min(6);
        fraction_us = number(&rest[1..=kept])? * 10_i64.pow(6 - kept as u32);
        rest = &rest[1 + length..];
    }
    let offset_minutes = match rest {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (number(&rest[1..3])?, number(&rest[4..6])?);
            if hours > 23 || minutes > 59 {
                return Err(Doubt);
            }
            (hours * 60 + minutes) * if *sign == b'+' { -1 } else { 1 }
        }
        _ => return Err(Doubt),
    };
    let minutes = (day * 24 + hour) * 60 + minute + offset_minutes;
    within_years((minutes * 60 + second) * 1_000_000 + fraction_us)
}

/// The same of milliseconds since 1970.
#[inline]
pub fn milliseconds_us(value_ms: u64) -> Vouched<i64> {
    if value_ms > TIME_MAX_US as u64 / 1_000 {
        return Err(Doubt);
    }
    Ok(value_ms as i64 * 1_000)
}

fn within_years(time_us: i64) -> Vouched<i64> {
    if (0..=TIME_MAX_US).contains(&time_us) {
        Ok(time_us)
    } else {
        Err(Doubt)
    }
}

/// Months since year 0 (year * 12 + month - 1) of a day since 1970.
pub fn month_of(day: i64) -> u32 {
    // Howard Hinnant's civil_from_days, for days that are not negative
    let day = day + 719_468;
    let era = day / 146_097;
    let day_of_era = day % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 2 } else { from_march - 10 };
    let year = era * 400 + year_of_era + (month < 2) as i64;
    (year * 12 + month) as u32
}
