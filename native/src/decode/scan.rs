//! JSON read from left to right, once, and only in the forms that are vouched for. No tree is built.

/// The core does not vouch for this body; the Python twin decides.
#[derive(Debug)]
pub struct Doubt;

pub type Vouched<T> = Result<T, Doubt>;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Whether one of eight bytes ends a plain run: a quote, a backslash, or a control character. No byte above 0x7f does.
fn ends_run(word: u64) -> u64 {
    let quote = word ^ (ONES * b'"' as u64);
    let escape = word ^ (ONES * b'\\' as u64);
    let zero = |x: u64| x.wrapping_sub(ONES) & !x;
    (zero(quote) | zero(escape) | (word.wrapping_sub(ONES * 0x20) & !word)) & HIGHS
}

/// A place in a text. Whoever makes one has seen that the text is UTF-8.
pub struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        Cursor { text, at: 0 }
    }

    pub fn place(&self) -> usize {
        self.at
    }

    /// What is still ahead.
    pub fn rest(&self) -> &'a [u8] {
        &self.text[self.at..]
    }

    pub fn since(&self, begin: usize) -> &'a [u8] {
        &self.text[begin..self.at]
    }

    /// The next byte that is no white space, not consumed; 0 at the end.
    #[inline]
    pub fn peek(&mut self) -> u8 {
        loop {
            match self.text.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(&byte) => return byte,
                None => return 0,
            }
        }
    }

    pub fn is_at_end(&mut self) -> bool {
        self.peek();
        self.at == self.text.len()
    }

    /// Consumes `byte`, behind white space.
    #[inline]
    pub fn expect(&mut self, byte: u8) -> Vouched<()> {
        if self.peek() != byte {
            return Err(Doubt);
        }
        self.at += 1;
        Ok(())
    }

    /// After a member or an element: true when another one follows, false when `close` ended it.
    #[inline]
    pub fn more(&mut self, close: u8) -> Vouched<bool> {
        let byte = self.peek();
        self.at += 1;
        if byte == b',' {
            Ok(true)
        } else if byte == close {
            Ok(false)
        } else {
            Err(Doubt)
        }
    }

    /// Consumes `word`, one of null, true and false, if it is next.
    #[inline]
    pub fn takes(&mut self, word: &[u8]) -> bool {
        let found = self.text[self.at..].starts_with(word);
        if found {
            self.at += word.len();
        }
        found
    }

    /// A string without escapes, whose quote is next, without its quotes.
    #[inline]
    pub fn plain_string(&mut self) -> Vouched<&'a [u8]> {
        let (raw, escaped) = self.string()?;
        if escaped {
            return Err(Doubt);
        }
        Ok(raw)
    }

    /// A string as it stands between its quotes, and whether there are escapes in it.
    #[inline]
    pub fn string(&mut self) -> Vouched<(&'a [u8], bool)> {
        self.expect(b'"')?;
        let begin = self.at;
        let mut escaped = false;
        loop {
            while let Some(chunk) = self.text.get(self.at..self.at + 8) {
                let mut word = [0; 8];
                word.copy_from_slice(chunk);
                let ends = ends_run(u64::from_le_bytes(word));
                if ends != 0 {
                    self.at += ends.trailing_zeros() as usize / 8;
                    break;
                }
                self.at += 8;
            }
            match self.text.get(self.at) {
                Some(b'"') => {
                    let raw = &self.text[begin..self.at];
                    self.at += 1;
                    return Ok((raw, escaped));
                }
                Some(b'\\') => {
                    escaped = true;
                    self.at += 2; // what is escaped is looked at by `unescaped`
                }
                Some(&byte) if byte >= 0x20 => self.at += 1,
                _ => return Err(Doubt),
            }
        }
    }

    /// The digits that are next: at least one, no leading zero, at most `digits_max`, and nothing behind them that
    /// would go on as a number.
    #[inline]
    pub fn natural(&mut self, digits_max: usize) -> Vouched<u64> {
        let begin = self.at;
        let value = self.digits(digits_max)?;
        if matches!(self.text.get(self.at), Some(b'.' | b'e' | b'E')) {
            self.at = begin;
            return Err(Doubt);
        }
        Ok(value)
    }

    #[inline]
    fn digits(&mut self, digits_max: usize) -> Vouched<u64> {
        let begin = self.at;
        let mut value: u64 = 0;
        while let Some(digit @ b'0'..=b'9') = self.text.get(self.at) {
            value = value.wrapping_mul(10).wrapping_add((digit - b'0') as u64);
            self.at += 1;
        }
        let count = self.at - begin;
        if count == 0 || count > digits_max || (count > 1 && self.text[begin] == b'0') {
            return Err(Doubt);
        }
        Ok(value)
    }

    /// A number that is not negative and has no exponent, rounded down; at most `digits_max` before the point.
    #[inline]
    pub fn rounded_down(&mut self, digits_max: usize) -> Vouched<u64> {
        let begin = self.at;
        let whole = self.digits(digits_max)?;
        match self.text.get(self.at) {
            Some(b'.') => {
                self.at += 1;
                self.fraction()?;
                // As a double: 0.99999999999999999999 is 1. With fifteen digits or fewer it cannot reach the next integer.
                let token = self.since(begin);
                if token.len() <= 16 {
                    return Ok(whole);
                }
                let text = std::str::from_utf8(token).map_err(|_| Doubt)?;
                Ok(text.parse::<f64>().map_err(|_| Doubt)?.floor() as u64)
            }
            Some(b'e' | b'E') => Err(Doubt),
            _ => Ok(whole),
        }
    }

    /// The digits behind a point: 1 to 40.
    fn fraction(&mut self) -> Vouched<()> {
        let begin = self.at;
        while let Some(b'0'..=b'9') = self.text.get(self.at) {
            self.at += 1;
        }
        let count = self.at - begin;
        if count == 0 || count > 40 || matches!(self.text.get(self.at), Some(b'e' | b'E')) {
            return Err(Doubt);
        }
        Ok(())
    }

    /// A number whose text is also how the twin writes it: an integer of at most 18 digits but -0, or a decimal of at most
    /// 15 digits, at least 0.001, without a useless zero at its end.
    pub fn canonical_number(&mut self) -> Vouched<&'a [u8]> {
        let begin = self.at;
        let negative = self.text.get(self.at) == Some(&b'-');
        self.at += negative as usize;
        let first = self.at;
        let whole = self.digits(18)?;
        let is_decimal = self.text.get(self.at) == Some(&b'.');
        if is_decimal {
            self.at += 1;
            self.fraction()?;
            let digits = self.since(first);
            let is_small = whole == 0 && digits[2..].starts_with(b"000"); // 0.0005 and, with -, 0.0
            let is_plain = digits[digits.len() - 1] != b'0' || digits.ends_with(b".0");
            if digits.len() > 16 || is_small || !is_plain || (whole == 0 && digits.ends_with(b".0")) {
                return Err(Doubt);
            }
        } else if matches!(self.text.get(self.at), Some(b'e' | b'E')) || (negative && whole == 0) {
            return Err(Doubt);
        }
        Ok(self.since(begin))
    }
}

/// What a string with escapes says, as UTF-8. `raw` comes from `Cursor::string`.
pub fn unescaped(raw: &[u8]) -> Vouched<Vec<u8>> {
    let mut text = Vec::with_capacity(raw.len());
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        if byte != b'\\' {
            text.push(byte);
            at += 1;
            continue;
        }
        at += 2;
        text.push(match raw.get(at - 1) {
            Some(&same @ (b'"' | b'\\' | b'/')) => same,
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                let mut unit = code_unit(raw, at)?;
                at += 4;
                if (0xd800..0xdc00).contains(&unit) && raw.get(at..at + 2) == Some(b"\\u".as_slice()) {
                    let low = code_unit(raw, at + 2)?;
                    if !(0xdc00..0xe000).contains(&low) {
                        return Err(Doubt);
                    }
                    unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                    at += 6;
                }
                let character = char::from_u32(unit).ok_or(Doubt)?; // none is made of a lone surrogate
                text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return Err(Doubt),
        });
    }
    Ok(text)
}

fn code_unit(raw: &[u8], at: usize) -> Vouched<u32> {
    let digits = raw.get(at..at + 4).ok_or(Doubt)?;
    digits.iter().try_fold(0, |unit, &digit| Ok(unit << 4 | (digit as char).to_digit(16).ok_or(Doubt)?))
}
