//! stub
/// stub
#[derive(Debug)]
pub struct EstateError;
