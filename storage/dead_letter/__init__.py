r"""What no store takes, kept with its reason. This is its specification.

    DATA/dead/<reader>-<microseconds since 1970, 16 digits>.jsonl       letters: one file a start of a drain, and more
                                                                        as they grow or somebody takes letters away
    DATA/dead/handled/<microseconds>-<pid>.jsonl                        letters that somebody took away
    DATA/dead/<reader>.unkept                                           how many were past the quota, by reason
    DATA/dead/lock                                                      flock-ed while handled letters are swept out

A letter is one line, a JSON object (UTF-8, ended by \n); `letter.Letter` has its fields. `tuple` is its COPY tuple as
acknowledged (ingest.tuple), of which everything else can be had, and `checksum` vouches for what is sent again. It is
the same letter when (incarnation, sequence, index) is: where its event lay in the spool. A crash between the letter and
the commit of its position writes it again, and `box.read` gives it once. A last line that was cut short by a crash is
passed over: its batch was not committed.

**Taking away.** A letter that was replayed or dropped is named in `handled/`, durably, and from then on it is gone for
everybody. Its bytes follow: `sweep` writes files anew without them, or unlinks them, but never a file that is in use. A
file is locked (flock) from before its first byte for as long as it is written to, and never written to again after
that; an empty one is left alone, for its writer may be about to lock it. A drain that sees letters being taken away
lets go of its file, so that this one can be swept, too.

A name in `handled/` stays until no file holds its letter and the spool no longer holds its event: a drain that comes
back to an older position would write the letter again, and `verify` has to know that the event was dead.

**The quota** is of all files of letters. Past it letters are counted in `<reader>.unkept` and not kept. The count is
written before the position moves, so a crash may count a batch twice and never leaves one out.
"""
