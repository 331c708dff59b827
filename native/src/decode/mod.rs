//! A body → frame bodies, for bodies of which nothing is wrong and nothing unusual.

mod body;
mod bundle;
mod event;
mod field;
mod metadata;
mod request;
mod scan;

pub use body::{decode, Form};
pub use bundle::{Body, Bundle};
pub use field::uuid;
pub use request::Request;
