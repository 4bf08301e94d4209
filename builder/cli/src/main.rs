//! nodeimg: builds node images and boots them

fn main() {}
