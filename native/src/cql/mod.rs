//! Playback events on their way into the CQL store.

mod placing;
mod tuple;
mod values;
mod waiting;
mod writes;

pub use placing::CqlPlacing;

/// The tables in the order of storage.scylla.columns.TABLES.
const BY_SESSION: u8 = 0;
const BY_CONTENT: u8 = 1;
const BY_PROFILE: u8 = 2;
const ERRORS: u8 = 3;
