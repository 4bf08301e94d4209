//! What one machine does with what it hears; many machines together are the simulator's (init/sim).

mod alone;
mod round;
