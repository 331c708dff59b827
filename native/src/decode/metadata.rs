//! Custom data of an event, written anew as the twin writes it: without white space, otherwise as sent.
//!
//! Vouched for: objects of strings without escapes, numbers that are written as the twin writes them, true, false, null,
//! arrays and objects 12 levels deep, no name twice in an object.

use super::scan::{Cursor, Doubt, Vouched};

pub const SIZE_MAX_BYTES: usize = 2_048;
const DEPTH_MAX: usize = 12;
const NAMES_MAX: usize = 64;

/// The object that is next; its text without white space. None for null.
pub fn field(cursor: &mut Cursor<'_>) -> Vouched<Option<Vec<u8>>> {
    if cursor.peek() == b'n' {
        return if cursor.takes(b"null") { Ok(None) } else { Err(Doubt) };
    }
    let begin = cursor.place();
    let mut text = Vec::with_capacity(256);
    object(cursor, &mut text, 1)?;
    if cursor.since(begin).len() > SIZE_MAX_BYTES {
        return Err(Doubt);
    }
    Ok(Some(text))
}

fn value(cursor: &mut Cursor<'_>, text: &mut Vec<u8>, depth: usize) -> Vouched<()> {
    match cursor.peek() {
        b'{' => return object(cursor, text, depth),
        b'[' => return array(cursor, text, depth),
        b'"' => drop(string(cursor, text)?),
        b'-' | b'0'..=b'9' => text.extend_from_slice(cursor.canonical_number()?),
        _ => {
            let word = [b"null".as_slice(), b"true", b"false"].into_iter().find(|word| cursor.takes(word));
            text.extend_from_slice(word.ok_or(Doubt)?);
        }
    }
    Ok(())
}

fn string<'a>(cursor: &mut Cursor<'a>, text: &mut Vec<u8>) -> Vouched<&'a [u8]> {
    let raw = cursor.plain_string()?;
    text.push(b'"');
    text.extend_from_slice(raw);
    text.push(b'"');
    Ok(raw)
}

fn object(cursor: &mut Cursor<'_>, text: &mut Vec<u8>, depth: usize) -> Vouched<()> {
    cursor.expect(b'{')?;
    if depth > DEPTH_MAX {
        return Err(Doubt);
    }
    text.push(b'{');
    if cursor.peek() == b'}' {
        cursor.expect(b'}')?;
        text.push(b'}');
        return Ok(());
    }
    let mut names: Vec<&[u8]> = Vec::new();
    loop {
        cursor.peek();
        let name = string(cursor, text)?;
        if names.len() == NAMES_MAX || names.contains(&name) {
            return Err(Doubt);
        }
        names.push(name);
        cursor.expect(b':')?;
        text.push(b':');
        value(cursor, text, depth + 1)?;
        if !cursor.more(b'}')? {
            text.push(b'}');
            return Ok(());
        }
        text.push(b',');
    }
}

fn array(cursor: &mut Cursor<'_>, text: &mut Vec<u8>, depth: usize) -> Vouched<()> {
    cursor.expect(b'[')?;
    if depth > DEPTH_MAX {
        return Err(Doubt);
    }
    text.push(b'[');
    if cursor.peek() == b']' {
        cursor.expect(b']')?;
        text.push(b']');
        return Ok(());
    }
    loop {
        value(cursor, text, depth + 1)?;
        if !cursor.more(b']')? {
            text.push(b']');
            return Ok(());
        }
        text.push(b',');
    }
}
