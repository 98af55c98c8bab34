//! Telephone-events (RFC 4733, section 2.3).

/// The payload of one packet of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TelephoneEvent {
    /// 0 to 9 are the digits, 10 is `*`, 11 `#`, 12 to 15 `A` to `D` (section 3.2).
    pub event: u8,
    /// The event is over.
    pub is_end: bool,
    /// Power in dBm0 below zero, 0 to 63.
    pub volume: u8,
    /// How long it has lasted, in units of the timestamp.
    pub duration: u16,
}

impl TelephoneEvent {
    /// Reads the first event of a payload; none where there is no whole one.
    pub fn read(payload: &[u8]) -> Option<TelephoneEvent> {
        let [event, flags, high, low] = *payload.first_chunk()?;
        let duration = u16::from_be_bytes([high, low]);
        Some(TelephoneEvent { event, is_end: flags & 0x80 != 0, volume: flags & 0x3f, duration })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_the_standard_has_them() {
        let event = TelephoneEvent { event: 11, is_end: true, volume: 10, duration: 0x0640 };
        assert_eq!(TelephoneEvent::read(&[11, 0x8a, 0x06, 0x40]), Some(event));
        assert_eq!(TelephoneEvent::read(&[11, 0x4a, 0x06, 0x40, 9]), Some(TelephoneEvent { is_end: false, ..event }));
        assert_eq!(TelephoneEvent::read(&[11, 0x8a, 0x06]), None);
    }
}
