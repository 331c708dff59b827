//! Frames as ingest/spool/frame.py lays them out: made, and read in a row.

use xxhash_rust::xxh3::xxh3_64_with_seed;

const MAGIC: &[u8; 8] = b"SVFRAME1";
const HASHED_BYTES: usize = 120;
pub const HEAD_BYTES: usize = 128;

/// All numbers of a head but magic, zeros and checksums.
#[derive(Clone, Copy)]
pub struct Head {
    pub kind: u8,
    pub flags: u8,
    pub schema: u16,
    pub count: u32,
    pub length_bytes: u32,
    pub codes: u16,
    pub sequence: u64,
    pub received_at_us: i64,
    pub month: u32,
    pub rows_hash: u64,
    pub month_totals: [u64; 2],
    pub totals: [u64; 5],
}

/// A whole frame in the data that it was read from: its parts are slices of that.
#[derive(Clone, Copy)]
pub struct Whole {
    pub head: Head,
    at: usize,
}

impl Whole {
    /// Running counts, u64 each; none where nothing changed.
    pub fn rejected_by_code<'a>(&self, data: &'a [u8]) -> impl Iterator<Item = u64> + 'a {
        let begin = self.at + HEAD_BYTES;
        let codes = data[begin..begin + 8 * self.head.codes as usize].chunks_exact(8);
        codes.filter_map(|entry| entry.first_chunk().copied().map(u64::from_le_bytes))
    }

    /// Where each tuple ends, and the tuples.
    pub fn payload<'a>(&self, data: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let begin = self.at + HEAD_BYTES;
        data[begin + 8 * self.head.codes as usize..begin + self.head.length_bytes as usize]
            .split_at(4 * self.head.count as usize)
    }

    /// Where its tuples begin in the data.
    pub fn rows_at(&self) -> usize {
        self.at + HEAD_BYTES + 8 * self.head.codes as usize + 4 * self.head.count as usize
    }

    pub fn rows_bytes(&self) -> usize {
        self.head.length_bytes as usize - 8 * self.head.codes as usize - 4 * self.head.count as usize
    }

    /// On disk, nearly: as readers reckon what they have read.
    pub fn size_bytes(&self) -> usize {
        HEAD_BYTES + self.rows_bytes()
    }

    /// Where the next frame begins.
    pub fn after(&self) -> usize {
        self.at + frame_bytes(self.head.length_bytes as usize)
    }
}

pub fn frame_bytes(length_bytes: usize) -> usize {
    HEAD_BYTES + length_bytes.next_multiple_of(8)
}

/// Fills `frame`, whose size `frame_bytes` says: head, refusals, and the payload that `fill` writes.
pub fn write(head: &Head, rejected_by_code: &[u64], fill: impl FnOnce(&mut [u8]), seed: u64, frame: &mut [u8]) {
    let (begin, rest) = frame.split_at_mut(HEAD_BYTES);
    let (body, padding) = rest.split_at_mut(head.length_bytes as usize);
    let (codes, tuples) = body.split_at_mut(8 * rejected_by_code.len());
    for (entry, count) in codes.chunks_exact_mut(8).zip(rejected_by_code) {
        entry.copy_from_slice(&count.to_le_bytes());
    }
    fill(tuples);
    padding.fill(0);
    let mut put = |at: usize, bytes: &[u8]| begin[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, MAGIC);
    put(8, &[head.kind, head.flags]);
    put(10, &head.schema.to_le_bytes());
    put(12, &head.count.to_le_bytes());
    put(16, &head.length_bytes.to_le_bytes());
    put(20, &head.codes.to_le_bytes());
    put(22, &[0; 2]);
    put(24, &head.sequence.to_le_bytes());
    put(32, &head.received_at_us.to_le_bytes());
    put(40, &head.month.to_le_bytes());
    put(44, &[0; 4]);
    for (number, value) in [head.rows_hash].iter().chain(&head.month_totals).chain(&head.totals).enumerate() {
        put(48 + 8 * number, &value.to_le_bytes());
    }
    put(112, &xxh3_64_with_seed(body, seed).to_le_bytes());
    let checksum = xxh3_64_with_seed(&begin[..HASHED_BYTES], seed);
    begin[HASHED_BYTES..].copy_from_slice(&checksum.to_le_bytes());
}

/// The frame at `at`; None when the bytes are none, or end within it.
pub fn read(data: &[u8], at: usize, seed: u64) -> Option<Whole> {
    let begin = data.get(at..at.checked_add(HEAD_BYTES)?)?;
    let u16_at = |at: usize| u16::from_le_bytes([begin[at], begin[at + 1]]);
    let u32_at = |at: usize| u16_at(at) as u32 | (u16_at(at + 2) as u32) << 16;
    let u64_at = |at: usize| u32_at(at) as u64 | (u32_at(at + 4) as u64) << 32;
    if &begin[..8] != MAGIC || xxh3_64_with_seed(&begin[..HASHED_BYTES], seed) != u64_at(HASHED_BYTES) {
        return None;
    }
    let head = Head {
        kind: begin[8],
        flags: begin[9],
        schema: u16_at(10),
        count: u32_at(12),
        length_bytes: u32_at(16),
        codes: u16_at(20),
        sequence: u64_at(24),
        received_at_us: u64_at(32) as i64,
        month: u32_at(40),
        rows_hash: u64_at(48),
        month_totals: [u64_at(56), u64_at(64)],
        totals: [72, 80, 88, 96, 104].map(u64_at),
    };
    let after = at + frame_bytes(head.length_bytes as usize);
    let payload = data.get(..after)?.get(at + HEAD_BYTES..at + HEAD_BYTES + head.length_bytes as usize)?;
    if xxh3_64_with_seed(payload, seed) != u64_at(112) {
        return None;
    }
    let codes = payload.get(..8 * head.codes as usize)?;
    let (ends_table, rows) = payload[codes.len()..].split_at_checked(4 * head.count as usize)?;
    let last = ends_table.last_chunk::<4>()?;
    (u32::from_le_bytes(*last) as usize == rows.len()).then_some(Whole { head, at })
}

/// The tuples of a frame, cut where its table says. None in the place of one that the table does not describe.
pub fn tuples<'a>(rows: &'a [u8], ends_table: &'a [u8]) -> impl Iterator<Item = Option<&'a [u8]>> {
    let mut begin = 0;
    ends_table.chunks_exact(4).map(move |entry| {
        let end = u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]) as usize;
        rows.get(std::mem::replace(&mut begin, end)..end)
    })
}
