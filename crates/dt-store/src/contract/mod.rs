//! What every implementation of an interface must do, as one suite an
//! interface. An implementation's own tests call it with a way to make a fresh
//! one, so that a new back end is held to the same facts as the embedded ones.

pub(crate) mod bus;
pub(crate) mod database;
pub(crate) mod state;
