//! What nodeinit decides: seed, node config, formation. Pure.
