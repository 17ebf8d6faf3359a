//! One fact a test, for what schedules can't name.
