//! Rows that are in no request yet, by their partition, in the order in which these were met. They stay in the bytes that
//! they were read from.

use std::collections::HashMap;

use super::{BY_CONTENT, BY_PROFILE, BY_SESSION, ERRORS};

#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Partition {
    /// Session, hour.
    Session([u8; 16], i64),
    /// Content, day, bucket.
    Content([u8; 16], i64, u64),
    /// Profile, day.
    Profile([u8; 16], i64),
    /// Edge, hour, bucket.
    Errors(Vec<u8>, i64, u64),
}

impl Partition {
    pub fn table(&self) -> u8 {
        match self {
            Partition::Session(..) => BY_SESSION,
            Partition::Content(..) => BY_CONTENT,
            Partition::Profile(..) => BY_PROFILE,
            Partition::Errors(..) => ERRORS,
        }
    }
}

/// A tuple: in which of the data, from where to where, and which statements are for it.
#[derive(Clone, Copy)]
pub struct Place {
    pub data: u32,
    pub of_mask: u32,
    pub begin: usize,
    pub end: usize,
}

pub struct Request {
    pub partition: Partition,
    pub rows: Vec<Place>,
    size_bytes: usize,
}

/// What a request may hold.
#[derive(Clone, Copy)]
pub struct Most {
    pub rows: usize,
    pub size_bytes: usize,
}

#[derive(Default)]
pub struct Waiting {
    numbers: HashMap<Partition, usize>,
    requests: Vec<Option<Request>>,
    /// Of `requests`, how many were handed out at the end.
    taken: usize,
}

impl Waiting {
    /// One row more of a partition; what is full goes to `full`.
    pub fn add(&mut self, partition: Partition, row: Place, size_bytes: usize, most: Most, full: &mut Vec<Request>) {
        let requests = &mut self.requests;
        let number = *self.numbers.entry(partition).or_insert_with_key(|partition| {
            requests.push(Some(Request { partition: partition.clone(), rows: Vec::new(), size_bytes: 0 }));
            requests.len() - 1
        });
        let Some(request) = &mut self.requests[number] else { unreachable!("what has a number is there") };
        if !request.rows.is_empty() && request.size_bytes + size_bytes > most.size_bytes {
            let partition = request.partition.clone();
            full.push(std::mem::replace(request, Request { partition, rows: Vec::new(), size_bytes: 0 }));
        }
        request.rows.push(row);
        request.size_bytes += size_bytes;
        if request.rows.len() >= most.rows {
            if let Some(request) = self.requests[number].take() {
                self.numbers.remove(&request.partition);
                full.push(request);
            }
        }
    }

    /// The next of those that are left; None: nothing waits any more.
    pub fn take(&mut self) -> Option<Request> {
        while let Some(request) = self.requests.get_mut(self.taken) {
            self.taken += 1;
            if let Some(request) = request.take() {
                return Some(request);
            }
        }
        *self = Waiting::default();
        None
    }
}
