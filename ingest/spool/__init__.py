r"""The spool: a durable log of frames, the one meeting place of the two halves. This is its specification, version 1.

    DATA/spool/<incarnation>/            one start of one collector; 32 hex digits, random
        lock                             flock-ed for as long as its collector lives
        watermark                        u64, memory-mapped: number of frames that are on disk; readers stop there
        0000000000000000.sealed          segments, named by the sequence of their first frame (16 hex digits);
        00000000000004d2.open            the last one is open while the collector lives
        ended                            written once nothing will be added: final sequence and totals
    DATA/spool/<incarnation>.new/        not an incarnation yet; renamed once its first segment is on disk
    DATA/spool/<incarnation>.dead/       an incarnation that has its tombstone; being removed
    DATA/spool/tombstones/<incarnation>  what `ended` said, of an incarnation whose segments are gone
    DATA/quarantine/                     bytes between valid frames, as they were found:
        <incarnation>-<base sequence>-<offset in the segment>
        <incarnation>-<sequence>-promised-<watermark>   a note: ended short of it (ingest.spool.shortfall)

All integers are little-endian; every structure begins on a multiple of 8 bytes and is padded with zeros to one.
`ended` and tombstones are a line of JSON (ingest.spool.ending) and a line with its xxh3_64 in hex.

Segment header
    magic u64 "SVSEGMT1" | version u32 = 1 | header_bytes u32 | incarnation 16 bytes | base_sequence u64
    | created_at_us i64
    | received u64 | rows u64 | signals u64 | duplicates u64 | rejected u64      totals before its first frame
    | months u32 | codes u32 | months × (month u32, 0 u32, rows u64, hash u64) | codes × (count u64)
    | checksum u64                                                               xxh3_64 of all before it

Frame
     0 magic u64 "SVFRAME1"
     8 kind u8              1 playback · 2 ad · 3 signal · 4 CMCD (ingest.batch)
     9 flags u8             1 the player's clock is broken: occurred_at is as sent, the drain settles it
                            bits 4–7 the class of its players' heartbeat interval (config.heartbeat), 0 the setting's
    10 schema u16           the column list of its tuples (ingest.tuple.SCHEMAS, ingest.ad.AD_SCHEMAS), for ever
    12 count u32            events
    16 length_bytes u32     of the payload, padding not counted
    20 codes u16            entries of the rejected table, 0 when it has not changed since the frame before
    22 0 u16
    24 sequence u64         of this frame in its incarnation, from 0, without gaps
    32 received_at_us i64   microseconds since 1970 UTC
    40 month u32            year * 12 + month - 1 of every row; 0: signals and unsettled rows, 1: ad events, 2: CMCD
    44 0 u32
    48 rows_hash u64        sum of xxh3_64 of this frame's tuples
    56 month_rows u64, 64 month_hash u64               running totals of this month, this frame included
    72 received u64 | 80 rows u64 | 88 signals u64 | 96 duplicates u64 | 104 rejected u64   running totals
   112 payload_checksum u64 xxh3_64 of the payload, seeded with the first 8 bytes of the incarnation, big-endian
   120 checksum u64         xxh3_64 of bytes 0 to 119, seeded likewise
   128 payload              codes × (count u64): refused events by code, running · count × (end u32): where each
                            tuple ends, counted from the first one's begin · the tuples

In every frame received = rows + signals + duplicates + rejected. Totals are of the incarnation. The state at a
sequence is what the frame before it says; what was refused at the door after an incarnation's last frame is in no
total of the spool.

Two checksums, so that a damaged payload still has a head that says how long it is and what was lost with it, and the
search for the next frame hashes no payload that a head does not vouch for. Seeded, because players choose bytes of the
tuples (16 of every identifier): a frame put together out of events does not know the seed, and is not taken for one.

Life of a segment: `.open` → rename, once the next one is on disk → `.sealed` → unlink. A frame is acknowledged after
`fdatasync` of its segment; new files and renames fsync their directory. After a failed write or fsync the whole
incarnation is abandoned (cut back to its watermark and ended there) and a new one begun: the failed pages are never
trusted again.

Recovery (a start finds segments whose lock is free): a torn tail is cut only if no valid frame follows it and the
watermark does not say that it was promised; then the segment is fsynced, sealed and the incarnation ended. It is never
appended to. Damage stays: a reader that meets it copies the bytes between the valid frames to `quarantine/`, goes on
behind them, and the jump in the running totals says how many rows and signals were lost; of damage at the end, what
heads can still be read. A watermark is never ahead of the disk, and after a power cut it may be behind: a last frame
that was acknowledged, and damaged in the same cut, is taken for torn, unless a segment was begun behind it, whose name
says how many frames were before it. Where the watermark promises more frames than the bytes that are left can have
held, they were lost, or it is damaged itself: the incarnation ends at its last valid frame, a note says how many are
missing, and what is cut off is in the quarantine first. More frames than a segment can hold are not believed to be
missing: bad hardware tears a watermark with the power, and then it says nothing.

An incarnation is removed at once: tombstone, rename to `.dead`, unlink. A reader's position is a sequence: the number
of the next frame.
"""
