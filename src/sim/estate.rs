//! stub
/// stub
#[derive(Debug)]
pub struct Estate;
