//! Unpredictable bytes: the system's, or in a simulation those that its seed gives.

use std::io;

/// Fills `bytes` with random bytes.
pub(crate) fn fill(bytes: &mut [u8]) -> io::Result<()> {
    #[cfg(not(allotd_shuttle))]
    {
        use rand::TryRng;
        rand::rngs::SysRng.try_fill_bytes(bytes).map_err(io::Error::other)
    }
    #[cfg(allotd_shuttle)]
    {
        super::simulation::world::fill(bytes);
        Ok(())
    }
}
