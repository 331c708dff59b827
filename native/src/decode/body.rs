//! A body: an envelope, an array, one object, or lines.

use super::bundle::{bundle, Bundle};
use super::event::{instant, Event};
use super::request::Request;
use super::scan::{Cursor, Doubt, Vouched};

#[derive(Clone, Copy, PartialEq)]
pub enum Form {
    Json,
    Lines,
    /// text/plain, which may be either.
    Either,
}

/// Everything the frames of a body are made of.
pub fn decode(body: &[u8], form: Form, request: &Request<'_>) -> Vouched<Bundle> {
    if std::str::from_utf8(body).is_err() || has_too_many_values(body, request.values_max) {
        return Err(Doubt);
    }
    let mut sent_us = None;
    let events = match form {
        Form::Lines => lines(body, request)?,
        // The one excludes the other: two lines that are an object each are no JSON text.
        Form::Json | Form::Either => match whole(body, request, &mut sent_us) {
            Err(Doubt) if form == Form::Either && body.contains(&b'\n') => {
                sent_us = None;
                lines(body, request)?
            }
            found => found?,
        },
    };
    if events.is_empty() || events.len() > request.events_max {
        return Err(Doubt);
    }
    let window = request.window(sent_us);
    let mut rows = Vec::with_capacity(events.len() * 256);
    let mut placed = Vec::with_capacity(events.len());
    for event in &events {
        placed.push(event.write(request, &window, &mut rows)?);
    }
    Ok(bundle(rows, &placed))
}

/// An upper bound of what ingest.decode.skeleton counts: commas and brackets in strings are counted too.
fn has_too_many_values(body: &[u8], values_max: usize) -> bool {
    let count = |wanted: fn(u8) -> bool| body.iter().filter(|byte| wanted(**byte)).count();
    body.len() > values_max
        && (count(|byte| matches!(byte, b',' | b'[' | b'{')) > values_max || count(|byte| byte == b'\n') > values_max)
}

fn lines<'a>(body: &'a [u8], request: &Request<'_>) -> Vouched<Vec<Event<'a>>> {
    let mut events = Vec::new();
    for line in body.split(|byte| *byte == b'\n') {
        let mut cursor = Cursor::new(line);
        if cursor.is_at_end() {
            continue;
        }
        if events.len() == request.events_max {
            return Err(Doubt);
        }
        events.push(Event::read(&mut cursor)?);
        if !cursor.is_at_end() {
            return Err(Doubt);
        }
    }
    Ok(events)
}

fn whole<'a>(body: &'a [u8], request: &Request<'_>, sent_us: &mut Option<i64>) -> Vouched<Vec<Event<'a>>> {
    let mut cursor = Cursor::new(body);
    let events = match cursor.peek() {
        b'[' => array(&mut cursor, request)?,
        b'{' if is_envelope(&mut cursor) => envelope(&mut cursor, request, sent_us)?,
        _ => vec![Event::read(&mut cursor)?],
    };
    if !cursor.is_at_end() {
        return Err(Doubt);
    }
    Ok(events)
}

/// Whether the first name is of an envelope alone, or a sent_at before it. An object that begins with sent_at and is an
/// event all the same is the twin's.
fn is_envelope(cursor: &mut Cursor<'_>) -> bool {
    let ahead = cursor.rest();
    let mut ahead = Cursor::new(ahead);
    let name = ahead.expect(b'{').and_then(|()| {
        ahead.peek();
        ahead.plain_string()
    });
    matches!(name, Ok(b"events" | b"sent_at"))
}

fn envelope<'a>(
    cursor: &mut Cursor<'a>,
    request: &Request<'_>,
    sent_us: &mut Option<i64>,
) -> Vouched<Vec<Event<'a>>> {
    let (mut events, mut has_sent_at) = (None, false);
    cursor.expect(b'{')?;
    loop {
        cursor.peek();
        let name = cursor.plain_string()?;
        cursor.expect(b':')?;
        match name {
            b"events" if events.is_none() => {
                cursor.peek();
                events = Some(array(cursor, request)?);
            }
            b"sent_at" if !has_sent_at => {
                *sent_us = instant(cursor)?;
                has_sent_at = true;
            }
            _ => return Err(Doubt),
        }
        if !cursor.more(b'}')? {
            return events.ok_or(Doubt);
        }
    }
}

fn array<'a>(cursor: &mut Cursor<'a>, request: &Request<'_>) -> Vouched<Vec<Event<'a>>> {
    let mut events = Vec::with_capacity(request.events_max.min(32));
    cursor.expect(b'[')?;
    loop {
        if events.len() == request.events_max {
            return Err(Doubt);
        }
        events.push(Event::read(cursor)?);
        if !cursor.more(b']')? {
            return Ok(events);
        }
    }
}
