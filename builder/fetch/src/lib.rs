//! Everything that comes over the network, checked
