//! Days as the city counts them: by the law of its zone, never by a fixed offset.

use jiff::civil::Date;
use jiff::tz::TimeZone;

/// The city's zone; the database of zones is in the binary, for machines without one.
pub(crate) fn city_zone() -> TimeZone {
    TimeZone::get("America/Mexico_City").unwrap_or(TimeZone::UTC)
}

/// The first moment of a day, milliseconds UTC; `None` at the ends of time.
pub(crate) fn start_of(day: Date) -> Option<i64> {
    let start = day.to_zoned(city_zone()).ok()?;
    Some(start.timestamp().as_millisecond())
}
